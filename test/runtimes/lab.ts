import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { StopStack } from '../../src/lib/stopStack.ts'
import { Issuer, inSeconds } from '../support/issuer.ts'
import { startNode } from '../support/node.ts'
import { stopTestServer } from '../support/postgres.ts'
import { ResponseDropper } from '../support/responseDropper.ts'
import { TcpProxy } from '../support/tcpProxy.ts'
import { migratedDatabase } from '../support/template.ts'
import type { Addresses } from './exercise.ts'

/** A node that wants tokens, and what a client needs to be put to the test beside it. */
export async function startLab(): Promise<{ addresses: Addresses; stop(): Promise<void> }> {
  const stack = new StopStack()
  try {
    stack.add('Postgres', { stop: stopTestServer })
    const database = await migratedDatabase()
    const issuer = stack.add('issuer', await Issuer.start())
    // Tokens end when they say, so that a test of that need not wait for the leeway.
    const settings = { ...issuer.settings, STARCITE_AUTH_JWT_LEEWAY_SECONDS: '0' }
    const node = stack.add('node', await startNode(database, settings))
    const proxy = stack.add('proxy', await TcpProxy.start(node))
    const dropper = stack.add('dropper', await ResponseDropper.start(node.url, (nth) => nth % 2 === 1))
    const control = await startControl(issuer, proxy)
    stack.add('control', control)
    const addresses = { node: node.url, cut: proxy.url, lossy: dropper.url, control: control.url }
    return { addresses, stop: () => stack.stop() }
  } catch (cause) {
    await stack.stop()
    throw cause
  }
}

/** `POST /cut` ends the proxy's connections; `POST /token?sub=…&seconds=…` makes a token. */
async function startControl(issuer: Issuer, proxy: TcpProxy): Promise<{ url: string; stop(): void }> {
  const server = createServer(async (req, res) => {
    const { pathname, searchParams } = new URL(req.url ?? '/', 'http://control')
    if (pathname === '/cut') {
      proxy.cut()
      res.end()
      return
    }
    const { sub, seconds } = Object.fromEntries(searchParams)
    res.end(await issuer.token({ sub, exp: inSeconds(Number(seconds)) }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}
