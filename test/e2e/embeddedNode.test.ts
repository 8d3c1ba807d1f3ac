import { existsSync } from 'node:fs'
import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect } from 'chai'
import { readPostmaster } from '../../src/db/embedded/postmaster.ts'
import { stopServer } from '../../src/db/embedded/stop.ts'
import { call, TailClient } from '../support/client.ts'
import { type NodeProcess, spawnNode } from '../support/node.ts'
import { until } from '../support/until.ts'

describe('nodes without a database URL', function () {
  this.timeout(60_000)
  let dir: string
  const nodes: NodeProcess[] = []

  beforeEach(async () => {
    dir = await mkdtemp(path.join(await realpath(tmpdir()), 'starcite-node-'))
    await chmod(dir, 0o755)
  })
  afterEach(async () => {
    for (const node of nodes.splice(0)) await node.kill('SIGKILL')
    const left = await readPostmaster(data())
    if (left !== undefined) await stopServer(left.pid, data())
    await rm(dir, { recursive: true, force: true, maxRetries: 5 })
  })

  const data = () => path.join(dir, 'data')

  async function start(): Promise<NodeProcess> {
    const node = await spawnNode({ url: '' }, { STARCITE_DATA_DIR: data() })
    nodes.push(node)
    return node
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
    let acknowledged = 0
    for (const killServer of [false, true]) {
      const node = await start()
      await call('POST', `${node.url}/v1/sessions`, { id: 's' })
      for (let i = 0; i < 10; i += 1) {
        const { json } = await call('POST', `${node.url}/v1/sessions/s/append`, { type: 't', payload: {} })
        acknowledged = json.seq
      }
      const server = await readPostmaster(data())
      await node.kill('SIGKILL')
      if (killServer && server) {
        process.kill(server.pid, 'SIGKILL')
        await until('Postgres is gone', () => {
          try {
            return !process.kill(server.pid, 0)
          } catch {
            return true
          }
        })
      }
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
})
