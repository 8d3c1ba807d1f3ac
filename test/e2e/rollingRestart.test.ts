import { expect } from 'chai'
import type pg from 'pg'
import { faultsOfLog } from '../support/chain.ts'
import { CALL_TIMEOUT_MS, ChaosWriter } from '../support/chaosWriter.ts'
import { call } from '../support/client.ts'
import { Haproxy, hasHaproxy } from '../support/haproxy.ts'
import { IS_NIGHTLY } from '../support/nightly.ts'
import { freePort, type NodeProcess, spawnNode } from '../support/node.ts'
import type { FreshDatabase } from '../support/postgres.ts'
import { ResumingTail } from '../support/resumingTail.ts'
import { type Stored, storedEvents, unaccounted } from '../support/storedEvents.ts'
import { connect, migratedDatabase } from '../support/template.ts'
import { until } from '../support/until.ts'

/** Nodes are restarted one after the other for this long, each at least once. */
const ROLLING_MS = Number(process.env.STARCITE_TEST_ROLLING_SECONDS ?? (IS_NIGHTLY ? 60 : 8)) * 1000
const NODES = 3
const TAILS = IS_NIGHTLY ? 300 : 90
const WRITERS = 4
const SESSIONS = Array.from({ length: 30 }, (_, i) => `rolling-${i}`)
/** As docker-compose.yml has them, but shorter. */
const NODE_SETTINGS = { STARCITE_DRAIN_DELAY: '1s', STARCITE_DRAIN_SPREAD: '1s' }

describe('three nodes behind a load balancer, restarted one after another', function () {
  this.timeout(ROLLING_MS + 120_000)
  let database: FreshDatabase
  let db: pg.Client
  let ports: number[]
  let nodes: NodeProcess[]
  let balancer: Haproxy
  let writers: ChaosWriter[]
  let tails: { session: string; tail: ResumingTail }[]
  let stored: Map<string, Stored[]>
  const exits: (number | null)[] = []

  before(async function () {
    if (!hasHaproxy()) {
      console.log('      NOT TESTED: haproxy is not installed (on Debian: apt-get install haproxy)')
      this.skip()
    }
    database = await migratedDatabase()
    db = await connect(database)
    ports = await Promise.all(Array.from({ length: NODES }, freePort))
    nodes = await Promise.all(ports.map(startOn))
    balancer = await Haproxy.start(ports)
    for (const id of SESSIONS) await call('POST', `${balancer.url}/v1/sessions`, { id })
    tails = Array.from({ length: TAILS }, (_, i) => {
      const session = SESSIONS[i % SESSIONS.length] as string
      return { session, tail: new ResumingTail(() => balancer.url, session) }
    })
    await until('the tails are open', () => tails.every(({ tail }) => tail.connections === 1))
    let rolling = true
    writers = Array.from(
      { length: WRITERS },
      (_, i) =>
        new ChaosWriter({
          name: `writer-${i}`,
          nodes: [balancer.url],
          sessions: SESSIONS,
          until: () => !rolling,
          pauseMs: 40,
        }),
    )

    const writing = Promise.all(writers.map((writer) => writer.run()))
    for (const end = Date.now() + ROLLING_MS; Date.now() < end || exits.length < NODES; )
      await restart(exits.length % NODES)
    rolling = false
    await writing

    stored = await storedEvents(db)
    await until('every tail has it all', () =>
      tails.every(({ session, tail }) => tail.cursor >= (stored.get(session)?.length ?? 0)),
    )
    if (process.env.STARCITE_TEST_FIGURES) printFigures()
  })
  after(async () => {
    for (const { tail } of tails ?? []) tail.stop()
    await balancer?.stop()
    await Promise.all((nodes ?? []).map((node) => node.kill('SIGKILL')))
    await db?.end()
    await database?.drop()
  })

  const startOn = (port: number) => spawnNode(database, { ...NODE_SETTINGS, PORT: String(port) })

  /** As an orchestrator does it: the next node goes once this one is back and serves. */
  async function restart(i: number): Promise<void> {
    const { code } = (await nodes[i]?.kill('SIGTERM')) ?? { code: null }
    exits.push(code)
    const node = await startOn(ports[i] as number)
    nodes[i] = node
    await until('it is given appends', async () => {
      const { text } = await call('GET', `${node.url}/metrics`)
      return !text.includes('starcite_events_append_total 0\n')
    })
  }

  function printFigures(): void {
    const answers = new Map<number | 'cut', number>()
    for (const writer of writers)
      for (const [kind, count] of writer.answers) answers.set(kind, (answers.get(kind) ?? 0) + count)
    console.log('restarts:', exits.length, 'answers to writers:', answers)
    console.log('by the load balancer:', balancer.statuses, balancer.notes)
    console.log('slowest call, ms:', Math.round(Math.max(...writers.map(({ slowestMs }) => slowestMs))))
    const reconnects = tails.reduce((sum, { tail }) => sum + tail.connections - 1, 0)
    const refusals = tails.reduce((sum, { tail }) => sum + tail.refusals, 0)
    const events = [...stored.values()].reduce((sum, list) => sum + list.length, 0)
    console.log('events:', events, 'reconnects of tails:', reconnects, 'refused handshakes:', refusals)
  }

  it('lose no acknowledged event, store none twice, and keep batches whole (I2, I4)', () => {
    const sent = writers.flatMap((writer) => writer.sent)

    expect(unaccounted(sent, stored)).to.deep.equal([])
    expect(sent.filter(({ fate }) => fate === 'acknowledged').length).to.be.above(ROLLING_MS / 100)
  })

  it('leave each session numbered 1..n, in time and in hash chain (I1)', async () => {
    for (const session of SESSIONS) expect(await faultsOfLog(db, session), session).to.deep.equal([])
  })

  it('answer 503 with Retry-After at worst, never late, and interrupt no request (I9)', () => {
    for (const writer of writers) {
      expect(writer.faults).to.deep.equal([])
      expect(writer.slowestMs).to.be.below(CALL_TIMEOUT_MS)
      expect(writer.answers.get('cut') ?? 0).to.equal(0)
    }
    const errors = [...balancer.statuses].filter(([status]) => status >= 500 && status !== 503)
    expect(errors).to.deep.equal([])
    expect(balancer.statuses.get(201)).to.be.above(0)
  })

  it('cost each tail a reconnect: every event once, in order, the same bytes for all (I3, I5)', () => {
    for (const session of SESSIONS) {
      const own = tails.filter((tail) => tail.session === session).map(({ tail }) => tail)
      const ids = (stored.get(session) ?? []).map(({ id }) => id)
      expect(own[0]?.events.map((text) => JSON.parse(text).payload.id)).to.deep.equal(ids)
      for (const tail of own) {
        expect(tail.faults).to.deep.equal([])
        expect(tail.events).to.deep.equal(own[0]?.events)
        // Sent away, in words; or refused once more on the way back.
        expect(tail.closes.filter((code) => code !== 1012).length).to.equal(tail.refusals)
      }
    }
    expect(tails.every(({ tail }) => tail.connections > 1)).to.equal(true)
  })

  it('end with 0, each time', () => {
    expect(exits).to.deep.equal(exits.map(() => 0))
  })
})
