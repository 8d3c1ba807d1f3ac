import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import type { EmbeddedPostgres } from '../../src/db/embedded/server.ts'
import type { Service } from '../../src/service.ts'
import { call } from '../support/client.ts'
import { EmbeddedPostgresLab } from '../support/embeddedPostgres.ts'
import { underLoad as startLoad } from '../support/load.ts'
import { IS_NIGHTLY } from '../support/nightly.ts'
import { type NodeProcess, type Settings, spawnNode, startNode as start } from '../support/node.ts'
import { ReplicatedPostgres, setAndReload } from '../support/replicated.ts'
import { ResumingTail } from '../support/resumingTail.ts'
import { SLACK_MS } from '../support/slack.ts'
import { TcpProxy } from '../support/tcpProxy.ts'
import { connect, migratedDatabase } from '../support/template.ts'
import { timed, until } from '../support/until.ts'

const TIMEOUT_MS = 1000
const SETTINGS = { STARCITE_STORAGE_TIMEOUT: `${TIMEOUT_MS}ms`, STARCITE_POLL_INTERVAL: '200ms' }

/** Stopped after each test, passed or failed; newest first. */
const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanUp of cleanups.splice(0).reverse()) await cleanUp()
})

async function startNode(database: { url: string }, settings: Settings): Promise<Service> {
  const node = await start(database, settings)
  cleanups.push(() => node.stop())
  return node
}

async function underLoad(node: { url: string }) {
  const load = await startLoad(node)
  cleanups.push(load.end)
  return load
}

describe('a node, when the primary changes', function () {
  this.timeout(120_000)
  let postgres: ReplicatedPostgres
  let proxy: TcpProxy

  beforeEach(async () => {
    postgres = await ReplicatedPostgres.start()
    cleanups.push(() => postgres.end())
    proxy = await TcpProxy.start(postgres.primary)
    cleanups.push(() => proxy.stop())
  })

  it('by a failover to its standby, loses nothing that was acknowledged and goes on by itself (I1 to I5)', async () => {
    const node = await startNode(proxy, SETTINGS)
    const load = await underLoad(node)
    await load.progress('there is load')

    process.kill(postgres.primary.pid, 'SIGKILL')
    // The address leads to the standby before it is a primary: it refuses to write for a while.
    proxy.moveTo(postgres.standby)
    proxy.cut()
    await until('appends are refused', () => load.answers(503) > 0)
    const { status } = await call('GET', `${node.url}/v1/sessions/a/events`)
    await postgres.promote()
    await load.progress('appends go on')
    const faults = await load.stop(postgres.standby)

    expect(faults).to.deep.equal([])
    expect([200, 503]).to.include(status)
    expect(load.slowestMs()).to.be.below(TIMEOUT_MS + SLACK_MS)
    for (const tail of load.tails) expect(tail.connections).to.equal(1)
  })

  it('and the old one stays up, read-only, leaves it with all its connections (I3)', async () => {
    // Longer than the test: only a notification from the new primary can wake a tail in time.
    const node = await startNode(proxy, { ...SETTINGS, STARCITE_POLL_INTERVAL: '5m' })
    const load = await underLoad(node)
    await load.progress('there is load')

    await setAndReload(postgres.primary, 'default_transaction_read_only', 'on')
    await until('appends are refused', () => load.answers(503) > 0)
    proxy.moveTo(postgres.standby)
    await postgres.promote()
    await load.progress('appends go on')
    const faults = await load.stop(postgres.standby)

    expect(faults).to.deep.equal([])
    const tail = new ResumingTail(() => node.url, 'a')
    const db = await connect(postgres.standby)
    const { rows } = await db.query(`select a.seq::int from starcite.append('a', 'sql', '{}') a`)
    const { ms } = await timed(
      until('it is seen by way of a notification', () => tail.cursor === rows[0].seq),
    )
    expect(ms).to.be.below(SLACK_MS)
    const old = await connect(postgres.primary)
    await until('nothing of the node is left on the old one', async () => {
      const left = await old.query(
        `select from pg_catalog.pg_stat_activity a where a.application_name in ('starcite', 'starcite listener')`,
      )
      return left.rowCount === 0
    })
    tail.stop()
    await Promise.all([db.end(), old.end()])
  })
})

describe('a node, when its Postgres only reads', () => {
  it('refuses appends within the bound, shows what there is, and appends again by itself', async () => {
    const lab = await EmbeddedPostgresLab.open()
    cleanups.push(() => lab.end())
    const server = await lab.start()
    const node = await startNode(server, SETTINGS)
    const load = await underLoad(node)
    await load.progress('there is load')

    await setAndReload(server, 'default_transaction_read_only', 'on')
    await until('appends are refused', () => load.answers(503) > 3)
    const created = await timed(call('POST', `${node.url}/v1/sessions`, {}))
    const history = await call('GET', `${node.url}/v1/sessions/a/events?limit=1000`)
    const reader = new ResumingTail(() => node.url, 'a')
    await until('a new tail has what there is', () => reader.cursor >= history.json.events.length)
    await setAndReload(server, 'default_transaction_read_only', 'off')
    await load.progress('appends go on')

    expect(created.value.json.error).to.equal('storage_unavailable')
    expect(created.ms).to.be.below(TIMEOUT_MS + SLACK_MS)
    expect(history.status).to.equal(200)
    expect(reader.faults).to.deep.equal([])
    expect(await load.stop(server)).to.deep.equal([])
    expect(load.slowestMs()).to.be.below(TIMEOUT_MS + SLACK_MS)
    reader.stop()
  })
})

describe('a node, when the way to Postgres is slow', () => {
  it('is delayed by the latency of the network and no more; requests past the time-out get 503', async () => {
    const database = await migratedDatabase()
    cleanups.push(() => database.drop())
    const proxy = await TcpProxy.start(database)
    cleanups.push(() => proxy.stop())
    const node = await startNode(proxy, SETTINGS)
    const load = await underLoad(node)
    await load.progress('there is load')

    // 100 ms there, 100 ms back, and 200 KB in a second.
    proxy.delayMs = 100
    proxy.bytesPerSecond = 200_000
    const append = (bytes: number) =>
      timed(
        call('POST', `${node.url}/v1/sessions/a/append`, {
          type: 'big',
          payload: { id: `big-${bytes}`, text: 'x'.repeat(bytes) },
          producer_id: `big-${bytes}`,
          producer_seq: 1,
        }),
      )
    await load.progress('appends go on')
    const small = await append(1000)
    const big = await append(900_000)
    proxy.delayMs = 0
    proxy.bytesPerSecond = Number.POSITIVE_INFINITY
    await load.progress('appends go on')

    expect(small.value.status).to.equal(201)
    expect(small.ms).to.be.within(190, TIMEOUT_MS + SLACK_MS)
    expect(big.value.json).to.include({ error: 'storage_unavailable', outcome_unknown: true })
    expect(big.ms).to.be.below(TIMEOUT_MS + SLACK_MS)
    expect(await load.stop(database)).to.deep.equal([])
    for (const tail of load.tails) expect(tail.connections).to.equal(1)
  })
})

describe('a node, when its Postgres is paused for many times the storage time-out', function () {
  this.timeout(120_000)
  const PAUSE_MS = 7 * TIMEOUT_MS
  const BOUND_MS = TIMEOUT_MS + SLACK_MS
  let lab: EmbeddedPostgresLab
  let server: EmbeddedPostgres
  let node: NodeProcess

  before(async () => {
    lab = await EmbeddedPostgresLab.open()
    server = await lab.start()
    node = await spawnNode(server, SETTINGS)
  })
  after(async () => {
    await node.kill('SIGKILL')
    await lab.end()
  })

  async function processesOf(postmaster: number): Promise<number[]> {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
    const parents = await Promise.all(
      pids.map(async (pid) => {
        const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
        return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
      }),
    )
    return [postmaster, ...pids.filter((_, i) => parents[i] === postmaster)]
  }

  const residentMb = async () =>
    Number(/^VmRSS:\s+(\d+)/m.exec(await readFile(`/proc/${node.child.pid}/status`, 'utf8'))?.[1]) / 1024

  it('answers every request 503 in time throughout, holds no more memory, and goes on at once (I1 to I5, I8)', async function () {
    if (process.platform !== 'linux') this.skip() // the processes of a server are found in /proc
    const load = await underLoad(node)
    await load.progress('there is load')
    const before = await residentMb()

    const pids = await processesOf(server.pid)
    for (const pid of pids) process.kill(pid, 'SIGSTOP')
    const calls: ReturnType<typeof timed<Awaited<ReturnType<typeof call>>>>[] = []
    const append = (i: number) =>
      call('POST', `${node.url}/v1/sessions/a/append`, {
        type: 't',
        payload: { id: `paused-${i}` },
        producer_id: `paused-${i}`,
        producer_seq: 1,
      })
    try {
      for (const end = Date.now() + PAUSE_MS; Date.now() < end; await sleep(100)) {
        calls.push(timed(append(calls.length)))
        if (calls.length % 8 === 0) calls.push(timed(call('GET', `${node.url}/v1/sessions/a/events?limit=1`)))
        expect((await call('GET', `${node.url}/health/live`)).status).to.equal(200)
      }
    } finally {
      for (const pid of pids) process.kill(pid, 'SIGCONT')
    }
    const answers = await Promise.all(calls)
    const back = await timed(load.progress('appends go on'))
    const grownMb = (await residentMb()) - before

    const refused = answers.filter(({ value }) => value.status === 503)
    expect(
      answers.map(({ value }) => value.status).filter((status) => ![201, 200, 503].includes(status)),
    ).to.deep.equal([])
    expect(refused.length).to.be.above(answers.length / 2)
    expect(Math.max(...answers.map(({ ms }) => ms))).to.be.below(BOUND_MS)
    expect(back.ms).to.be.below(BOUND_MS)
    if (IS_NIGHTLY) expect(grownMb).to.be.below(100)
    expect(await load.stop(server)).to.deep.equal([])
    for (const tail of load.tails) expect(tail.connections).to.equal(1)
  })
})
