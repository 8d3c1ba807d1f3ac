import { existsSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import path from 'node:path'
import { expect } from 'chai'
import { urlOf } from '../../src/db/embedded/clients.ts'
import { isServerOf, readPostmaster } from '../../src/db/embedded/postmaster.ts'
import { withStartLock } from '../../src/db/embedded/startLock.ts'
import { call, TailClient } from '../support/client.ts'
import { copyCluster } from '../support/cluster.ts'
import { endServer } from '../support/leftovers.ts'
import { underLoad } from '../support/load.ts'
import { type NodeProcess, spawnNode } from '../support/node.ts'
import { makeScratch } from '../support/scratch.ts'
import { until } from '../support/until.ts'

describe('nodes without a database URL', function () {
  this.timeout(120_000)
  let dir: string
  const nodes: NodeProcess[] = []
  let load: Awaited<ReturnType<typeof underLoad>> | undefined

  beforeEach(async () => {
    dir = await makeScratch('node')
  })
  afterEach(async () => {
    await load?.end()
    load = undefined
    for (const node of nodes.splice(0)) await node.kill('SIGKILL')
    await endServer(data())
    await rm(dir, { recursive: true, force: true, maxRetries: 5 })
  })

  const data = () => path.join(dir, 'data')

  async function start(): Promise<NodeProcess> {
    const node = await spawnNode({ url: '' }, { STARCITE_DATA_DIR: data() })
    nodes.push(node)
    return node
  }

  async function running() {
    const server = await readPostmaster(data())
    if (server === undefined) throw new Error('no server runs')
    return server
  }

  async function kill({ pid }: { pid: number }): Promise<void> {
    process.kill(pid, 'SIGKILL')
    await until('Postgres is gone', async () => !(await isServerOf(pid, data())))
  }

  it('that start at once in one folder share one embedded Postgres; the last to stop stops it', async () => {
    const [a, b] = await Promise.all([start(), start()])
    const server = await readPostmaster(data())
    await call('POST', `${a.url}/v1/sessions`, { id: 's' })
    const tail = new TailClient(a.url, 's', 'cursor=0')
    await call('POST', `${b.url}/v1/sessions/s/append`, { type: 't', payload: { n: 1 } })
    await tail.until(({ frames }) => frames.length === 1)

    const first = await a.kill('SIGTERM')
    const still = await call('POST', `${b.url}/v1/sessions/s/append`, { type: 't', payload: { n: 2 } })
    const serverAfterFirst = await readPostmaster(data())
    const second = await b.kill('SIGTERM')

    expect(a.output()).to.include(data())
    expect([first.code, second.code]).to.deep.equal([0, 0])
    expect(tail.closed?.code).to.equal(1012)
    expect(still.json).to.include({ seq: 2 })
    expect(serverAfterFirst?.pid).to.equal(server?.pid)
    expect(existsSync(path.join(data(), 'postmaster.pid'))).to.equal(false)
  })

  it('keep the data over kill -9 of the node, and of the node and Postgres together', async () => {
    await copyCluster(data(), 'durable')
    let acknowledged = 0
    for (const killServer of [false, true]) {
      const node = await start()
      await call('POST', `${node.url}/v1/sessions`, { id: 's' })
      for (let i = 0; i < 10; i += 1) {
        const { json } = await call('POST', `${node.url}/v1/sessions/s/append`, { type: 't', payload: {} })
        acknowledged = json.seq
      }
      const server = await running()
      await node.kill('SIGKILL')
      if (killServer) await kill(server)
    }

    const node = await start()
    const { json } = await call('GET', `${node.url}/v1/sessions/s/events`)

    expect(acknowledged).to.equal(20)
    expect(json.events.map(({ seq }: { seq: number }) => seq)).to.deep.equal(
      Array.from({ length: 20 }, (_, i) => i + 1),
    )
    expect((await node.kill('SIGTERM')).code).to.equal(0)
    expect(existsSync(path.join(data(), 'postmaster.pid'))).to.equal(false)
  })

  it('start Postgres again whenever it is killed, on the port it had, and lose nothing, until told to stop (I1 to I5)', async () => {
    await copyCluster(data(), 'durable')
    const node = await start()
    const gone = () => node.output().match(/embedded Postgres is gone: starting it again/g)?.length
    const { port } = await running()
    load = await underLoad(node)
    await load.progress('there is load')

    for (const time of ['once', 'twice']) {
      await kill(await running())
      await load.progress(`appends go on (${time})`)
    }
    const server = await running()
    const faults = await load.stop({ url: await urlOf(data(), server.port) })

    // While we hold the lock the node does not start it; and then it gets SIGTERM.
    const ended = await withStartLock(`${data()}.lock`, async () => {
      await kill(server)
      await until('the node wants to start it', () => gone() === 3)
      const ending = node.kill('SIGTERM')
      await until('the node stops', () => node.output().includes('draining'))
      return { ending }
    })

    expect(faults).to.deep.equal([])
    expect(server.port).to.equal(port)
    for (const tail of load.tails) expect(tail.connections).to.equal(1)
    expect((await ended.ending).code).to.equal(0)
    const left = await readPostmaster(data())
    expect(left !== undefined && (await isServerOf(left.pid, data()))).to.equal(false)
  })

  it('say when it does not start; once it does, one starts it and all find it, on another port if need be', async () => {
    await copyCluster(data(), 'durable')
    const [a, b] = await Promise.all([start(), start()])
    const first = await running()
    load = await underLoad(a, b)
    await load.progress('there is load')
    const starts = () => `${a.output()}${b.output()}`.match(/Postgres [\d.a-z-]+ runs on port/g)?.length ?? 0
    const startsBefore = starts()
    const [version, away] = [path.join(data(), 'PG_VERSION'), path.join(dir, 'away')]
    const squatter = createServer((socket) => socket.destroy())

    // While we hold the lock no node starts it.
    await withStartLock(`${data()}.lock`, async () => {
      await kill(first)
      await rename(version, away)
      await until('its port is taken', () => listens(squatter, first.port))
    })
    for (const node of [a, b])
      await until('it logs that', async () => {
        const { json } = await call('GET', `${node.url}/health/ready`)
        return json.reason === 'database_unavailable' && json.message?.includes('does not start')
      })
    const startsMeanwhile = starts()
    await rename(away, version)
    await load.progress('appends go on')
    for (const node of [a, b])
      await until('it is ready', async () => (await call('GET', `${node.url}/health/ready`)).status === 200)
    const server = await running()
    const faults = await load.stop({ url: await urlOf(data(), server.port) })

    expect(faults).to.deep.equal([])
    expect(server.port).to.not.equal(first.port)
    expect([startsBefore, startsMeanwhile, starts()]).to.deep.equal([1, 1, 2])
    expect(`${a.output()}${b.output()}`).to.include('there is no database in')
    await new Promise((resolve) => squatter.close(resolve))
    expect((await a.kill('SIGTERM')).code).to.equal(0)
    expect((await call('GET', `${b.url}/health/ready`)).status).to.equal(200)
    expect((await b.kill('SIGTERM')).code).to.equal(0)
    expect(existsSync(path.join(data(), 'postmaster.pid'))).to.equal(false)
  })
})

function listens(server: ReturnType<typeof createServer>, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => resolve(true))
  })
}
