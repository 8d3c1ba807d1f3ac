import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import type pg from 'pg'
import type { EmbeddedPostgres } from '../../src/db/embedded/server.ts'
import { faultsOfLog } from '../support/chain.ts'
import { CALL_TIMEOUT_MS, ChaosWriter, type Sent } from '../support/chaosWriter.ts'
import { call } from '../support/client.ts'
import { EmbeddedPostgresLab } from '../support/embeddedPostgres.ts'
import { IS_NIGHTLY } from '../support/nightly.ts'
import { freePort, type NodeProcess, spawnNode } from '../support/node.ts'
import { ResumingTail } from '../support/resumingTail.ts'
import { groupBy, type Stored, storedEvents } from '../support/storedEvents.ts'
import { connect } from '../support/template.ts'
import { until } from '../support/until.ts'
import { use } from '../support/use.ts'

const CHAOS_MS = IS_NIGHTLY ? 60_000 : 12_000
const WRITERS = 8
/** Between a writer's requests, so that other tests have a turn on the processors; they still make thousands. */
const PAUSE_MS = 25
const SESSIONS = Array.from({ length: 20 }, (_, i) => `chaos-${i}`)

describe('eight writers on two nodes, with nodes and Postgres killed under them', function () {
  this.timeout(CHAOS_MS + 150_000)
  const lab = use(() => EmbeddedPostgresLab.open())
  let server: EmbeddedPostgres
  let ports: number[]
  let nodes: NodeProcess[]
  let writers: ChaosWriter[]
  let tails: { session: string; tail: ResumingTail }[]
  let db: pg.Client
  let stored: Map<string, Stored[]>

  before(async () => {
    server = await lab.start({ durable: true })
    ports = [await freePort(), await freePort()]
    nodes = await Promise.all(ports.map(startNodeOn))
    const urls = nodes.map(({ url }) => url)
    for (const id of SESSIONS) await call('POST', `${urls[0]}/v1/sessions`, { id })
    tails = SESSIONS.flatMap((session) =>
      urls.map((url, i) => ({
        session,
        tail: new ResumingTail(() => url, session, i === 0 ? {} : { batchSize: 50 }),
      })),
    )
    const end = Date.now() + CHAOS_MS
    writers = Array.from(
      { length: WRITERS },
      (_, i) =>
        new ChaosWriter({
          name: `writer-${i}`,
          nodes: urls,
          sessions: SESSIONS,
          until: end,
          pauseMs: PAUSE_MS,
        }),
    )

    await Promise.all([wreakHavoc(), ...writers.map((writer) => writer.run())])

    db = await connect(server)
    stored = await storedEvents(db)
    await until('every tail has it all', () =>
      tails.every(({ session, tail }) => tail.cursor >= (stored.get(session)?.length ?? 0)),
    )
  })
  after(async () => {
    for (const { tail } of tails ?? []) tail.stop()
    for (const { child } of nodes ?? []) child.kill('SIGKILL')
    await db?.end()
  })

  const startNodeOn = (port: number) => spawnNode(server, { PORT: String(port) })

  async function wreakHavoc(): Promise<void> {
    const killNode = async (i: number) => {
      await nodes[i]?.kill('SIGKILL')
      nodes[i] = await startNodeOn(ports[i] as number)
    }
    const { port } = server
    await sleep(CHAOS_MS * 0.15)
    await killNode(0)
    await sleep(CHAOS_MS * 0.1)
    await server.stop()
    server = await lab.start({ durable: true, port })
    await sleep(CHAOS_MS * 0.1)
    await killNode(1)
    await sleep(CHAOS_MS * 0.1)
    process.kill(server.pid, 'SIGKILL')
    server = await lab.start({ durable: true, port })
  }

  const sent = (fate: Sent['fate']) =>
    writers.flatMap((writer) => writer.sent.filter((request) => request.fate === fate))

  it('answered every request, in time, with answers of the contract (I9)', () => {
    for (const writer of writers) {
      expect(writer.faults).to.deep.equal([])
      expect(writer.slowestMs).to.be.below(CALL_TIMEOUT_MS)
      // Each went on to the end, so the log was there most of the time.
      expect(writer.sent.filter(({ fate }) => fate === 'acknowledged').length).to.be.above(5)
    }
  })

  it('has numbered each session 1..n, in time and in hash chain (I1)', async () => {
    for (const session of SESSIONS) expect(await faultsOfLog(db, session), session).to.deep.equal([])
  })

  it('holds each acknowledged event once, at the seq that was answered (I2)', () => {
    const seqOf = new Map(
      [...stored.values()].flat().map(({ session, seq, id }) => [`${session} ${id}`, seq]),
    )
    const acknowledged = sent('acknowledged').flatMap(({ session, ids, seqs }) =>
      ids.map((id, i) => ({ key: `${session} ${id}`, seq: seqs?.[i] })),
    )

    expect(acknowledged.filter(({ key, seq }) => seqOf.get(key) !== seq)).to.deep.equal([])
  })

  it('holds no event twice, acknowledged or not, and none that was refused (I4)', () => {
    const ids = [...stored.values()].flat().map(({ id }) => id)
    const refused = new Set(sent('refused').flatMap((request) => request.ids))

    expect(ids).to.have.lengthOf(new Set(ids).size)
    expect(ids.filter((id) => refused.has(id))).to.deep.equal([])
  })

  it('holds what each producer sent in its order, without a gap (I4)', () => {
    for (const events of stored.values())
      for (const own of groupBy(events, ({ producerId }) => producerId).values())
        if (own[0]?.producerId !== null)
          expect(own.map(({ producerSeq }) => producerSeq)).to.deep.equal(own.map((_, i) => i + 1))
  })

  it('holds of a batch all or nothing, side by side', () => {
    const seqOf = new Map([...stored.values()].flat().map(({ seq, id }) => [id, seq]))
    for (const { ids } of [...sent('perhaps'), ...sent('acknowledged')]) {
      const seqs = ids.map((id) => seqOf.get(id))
      const first = seqs[0]
      expect(seqs).to.deep.equal(ids.map((_, i) => (first === undefined ? undefined : first + i)))
    }
  })

  it('showed every tail each event once, in order, the same bytes on both nodes (I3, I5)', async () => {
    for (const session of SESSIONS) {
      const [first, second] = tails.filter((tail) => tail.session === session).map(({ tail }) => tail)
      const events = stored.get(session) ?? []
      expect(first?.faults.concat(second?.faults ?? [])).to.deep.equal([])
      expect(first?.connections).to.be.above(1)
      expect(first?.events.map((text) => JSON.parse(text).payload.id)).to.deep.equal(
        events.map(({ id }) => id),
      )
      expect(second?.events).to.deep.equal(first?.events)
    }
  })

  it('left no node with memory or callers of tails that ended', async () => {
    for (const { tail } of tails) tail.stop()
    for (const { url } of nodes)
      await until('the node holds nothing', async () => {
        const { text } = await call('GET', `${url}/metrics`)
        return /^starcite_ring_bytes 0$/m.test(text) && /^starcite_tails 0$/m.test(text)
      })
  })

  it('stops both nodes in order afterwards', async () => {
    for (const { child, kill, output } of nodes) {
      const { code } = child.exitCode === null ? await kill('SIGTERM') : { code: child.exitCode }
      expect(code, output()).to.equal(0)
    }
  })
})
