import { once } from 'node:events'
import { expect } from 'chai'
import Koa from 'koa'
import koaEasyWs from 'koa-easy-ws'
import { WebSocket } from 'ws'
import { HttpServer } from '../../src/http/server.ts'
import { acceptUpgrade } from '../../src/http/transports/upgrade.ts'
import { until } from '../support/until.ts'

const TIMEOUTS = { keepAliveMs: 100, headersMs: 150, requestMs: 200 }
/** Many times what a request would be given. */
const LIFE_MS = 2000

// A CommonJS module whose types say `default` where there is none at run time.
const easyWs = koaEasyWs as unknown as typeof koaEasyWs.default

describe('a WebSocket', () => {
  let server: HttpServer

  before(async () => {
    const app = new Koa()
    app.use(easyWs())
    app.use(async (ctx) => {
      const ws = await acceptUpgrade(ctx)
      ws?.on('message', (data) => ws.send(`echo ${data}`))
    })
    server = await HttpServer.start(app, 0, '127.0.0.1', TIMEOUTS)
  })
  after(() => server.stop())

  it('outlives every time-out of an HTTP request, whether its client talks or is silent', async () => {
    const url = `ws://127.0.0.1:${server.port}/`
    const sockets = [new WebSocket(url), new WebSocket(url), new WebSocket(url)]
    const [talking, ponging, silent] = sockets as [WebSocket, WebSocket, WebSocket]
    const closed: string[] = []
    let echoes = 0
    talking.on('message', () => {
      echoes += 1
    })
    sockets.forEach((socket, i) => {
      socket.on('close', () => closed.push(`socket ${i}`))
    })
    await Promise.all(sockets.map((socket) => once(socket, 'open')))

    const started = Date.now()
    let sent = 0
    await until('they have lived long', () => {
      if (echoes === sent) talking.send(String(++sent))
      ponging.pong()
      return Date.now() - started > LIFE_MS
    })
    silent.send('after a long silence')
    const [answer] = await once(silent, 'message')

    expect(closed).to.deep.equal([])
    expect(String(answer)).to.equal('echo after a long silence')
    expect(echoes).to.be.above(10)
    for (const socket of sockets) socket.terminate()
  })
})
