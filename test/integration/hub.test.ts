import { expect } from 'chai'
import { Db } from '../../src/db/pool.ts'
import { Hub } from '../../src/live/hub.ts'
import type { SeenLog } from '../../src/live/queries.ts'
import { createLog } from '../../src/ops/log.ts'
import { Metrics } from '../../src/ops/metrics.ts'
import { AppError } from '../../src/protocol/errors.ts'
import { findSession } from '../../src/sessions/queries.ts'
import { seenLog } from '../../src/sessions/session.ts'
import { readHotAfter } from '../../src/tail/hotQueries.ts'
import { cutLog } from '../support/cutLog.ts'
import { bound } from '../support/slack.ts'
import { TcpProxy } from '../support/tcpProxy.ts'
import { timed, until } from '../support/until.ts'
import { useEach } from '../support/use.ts'
import { useConnection, useDatabase } from '../support/useNode.ts'

describe('the hub', () => {
  const database = useDatabase()
  const client = useConnection(database)
  const proxy = useEach(() => TcpProxy.start(database))
  let db: Db
  let hub: Hub
  let sid: string
  const never = new AbortController().signal
  const log = createLog('silent')

  beforeEach(async () => {
    db = new Db({
      url: proxy.url,
      size: 2,
      applicationName: 'hub test',
      timeoutMs: 500,
      preparedStatements: true,
      log,
    })
    hub = openHub(200)
    sid = await newSession()
  })
  afterEach(async () => {
    await hub.stop()
    await db.stop()
  })

  const openHub = (pollIntervalMs: number, reads = db) => {
    const opened = new Hub({
      db: reads,
      log,
      metrics: new Metrics(),
      ringEvents: 100,
      ringBytes: 1024 * 1024,
      ringSessionBytes: 1024 * 1024,
      pollIntervalMs,
    })
    opened.start()
    return opened
  }

  async function newSession(): Promise<string> {
    const { rows } = await client.query<{ sid: string }>(
      `select starcite.create_session('default', gen_random_uuid()::text) as sid`,
    )
    return rows[0]!.sid
  }

  async function seen(of: string): Promise<SeenLog> {
    const { rows } = await client.query<{ id: string }>(
      'select s.id from starcite.sessions s where s.sid = $1',
      [of],
    )
    const session = await findSession(db, 'default', rows[0]!.id)
    return seenLog(session!)
  }

  async function append(to: string, events: number): Promise<void> {
    await client.query(
      `select starcite.append(s.id, 'n', json_build_object('n', g.n))
         from starcite.sessions s cross join generate_series(1, $2) as g (n) where s.sid = $1`,
      [to, events],
    )
  }

  const seqs = (frames: readonly { seq: number }[] | undefined) => frames?.map(({ seq }) => seq)

  it('finds by polling events without a notification', async () => {
    const subscription = hub.register(sid)
    await subscription.ready(never)
    await append(sid, 3)

    const { ms } = await timed(subscription.changed(0, never))

    expect(seqs(subscription.after(0, 10))).to.deep.equal([1, 2, 3])
    expect(ms).to.be.below(bound(3000))
    subscription.close()
  })

  it('reads on at a notification, without waiting for the poll', async () => {
    const patient = openHub(300_000)
    const subscription = patient.register(sid)
    await subscription.ready(never)
    await append(sid, 2)
    patient.hint(sid, 2)

    await subscription.changed(0, never)

    expect(seqs(subscription.after(0, 10))).to.deep.equal([1, 2])
    subscription.close()
    await patient.stop()
  })

  it('is not led past the end of the log by a hint that is not true (I3)', async () => {
    const subscription = hub.register(sid)
    await subscription.ready(never)
    await append(sid, 2)

    hub.hint(sid, 2)
    await subscription.changed(0, never)
    for (const hint of [1_000_000, -1, Number.MAX_SAFE_INTEGER, 1_000_000]) {
      hub.hint(sid, hint)
      // Reads go one after the other: once this one is done, so is the one for the hint.
      const other = hub.register(await newSession())
      await other.ready(never)
      await append(other.sid, 1)
      hub.hint(other.sid, 1)
      await other.changed(0, never)
      other.close()
      expect(seqs(subscription.after(0, 10))).to.deep.equal([1, 2])
    }
    await append(sid, 1)
    await subscription.changed(2, never)

    expect(seqs(subscription.after(0, 10))).to.deep.equal([1, 2, 3])
    subscription.close()
  })

  it('gives back the memory of a session whose last tail left in the middle of a read', async () => {
    for (let round = 0; round < 20; round += 1) {
      const other = await newSession()
      const subscription = hub.register(other)
      await subscription.ready(never)
      await append(other, 5)
      hub.hint(other, 5)
      // Its read is on the way now.
      await new Promise((resolve) => setImmediate(resolve))
      subscription.close()
    }
    const last = hub.register(sid)
    await last.ready(never)
    await append(sid, 1)
    hub.hint(sid, 1)
    await until('the last is read', () => last.after(0, 1)?.length === 1)

    last.close()

    expect(hub.ringBytes).to.equal(0)
    expect(hub.tails).to.equal(0)
  })

  it('goes on by itself after its database was away', async () => {
    const subscription = hub.register(sid)
    await subscription.ready(never)
    proxy.silence()
    await append(sid, 1)
    hub.hint(sid, 1)
    await until('its read was tried', () => proxy.links > 0)
    proxy.flow()

    await subscription.changed(0, never)

    expect(seqs(subscription.after(0, 10))).to.deep.equal([1])
    subscription.close()
  })

  it('serves a session whose first read fails', async () => {
    proxy.silence()
    const subscription = hub.register(sid)
    await until('its read was tried', () => proxy.links > 0)
    proxy.flow()

    await subscription.ready(never)
    await append(sid, 1)
    await subscription.changed(0, never)

    expect(seqs(subscription.after(0, 10))).to.deep.equal([1])
    subscription.close()
  })

  for (const [what, again] of [
    ['is shorter than it was', 0],
    ['has another event where the newest was', 3],
  ] as const)
    it(`ends a session whose log ${what}, found by polling; the next tail starts again`, async () => {
      const subscription = hub.register(sid)
      await subscription.ready(never)
      for (let i = 0; i < 6; i += 1) await append(sid, 1) // each with a time of its own
      await subscription.changed(5, never)

      await cutLog(client, sid, 3, () => append(sid, again))
      await until('it is over', () => subscription.endReason === 'history_changed')

      expect(subscription.after(3, 10)).to.equal(undefined)
      const next = hub.register(sid)
      await next.ready(never)
      expect(next.knownSeq).to.equal(3 + again)
      subscription.close()
      await append(sid, 1)
      await next.changed(3 + again, never)
      expect(seqs(next.after(3 + again, 10))).to.deep.equal([4 + again])
      next.close()
    })

  it("ends a session when this node's own append gets a seq that another event has", async () => {
    const patient = openHub(300_000)
    const subscription = patient.register(sid)
    await subscription.ready(never)
    for (let i = 0; i < 6; i += 1) await append(sid, 1)
    patient.hint(sid, 6)
    await subscription.changed(5, never)
    await cutLog(client, sid, 3, () => append(sid, 1))
    const [other] = await readHotAfter(db, sid, 3, { events: 1, bytes: 1000 })

    patient.appended(sid, 4, () => (other ? [other] : []))
    await until('it is over', () => subscription.endReason === 'history_changed')

    subscription.close()
    await patient.stop()
  })

  it('shows nothing while it doubts, and goes on where nothing has changed', async () => {
    const patient = openHub(300_000)
    const subscription = patient.register(sid)
    await subscription.ready(never)
    await append(sid, 3)
    patient.hint(sid, 3)
    await subscription.changed(2, never)
    await append(sid, 2) // which it has not heard of

    patient.verifyAll()
    expect([subscription.isUnverified, subscription.after(0, 10)]).to.deep.equal([true, undefined])
    await subscription.changed(3, never)

    expect(seqs(subscription.after(0, 10))).to.deep.equal([1, 2, 3, 4, 5])
    expect(subscription.endReason).to.equal(undefined)
    subscription.close()
    await patient.stop()
  })

  it('ends a tail whose session was given to another one before its log was first read', async () => {
    const [session, other] = [await seen(sid), await seen(await newSession())]
    await append(sid, 1)

    const subscription = hub.register(sid, { ...session, id: other.id })
    await subscription.changed(0, never)

    expect([subscription.endReason, subscription.after(0, 10)]).to.deep.equal(['history_changed', undefined])
    subscription.close()
  })

  it('ends a tail whose log has another last event than its caller has seen, and one whose log is shorter', async () => {
    await append(sid, 2)
    const session = await seen(sid)
    for (const stale of [
      { ...session, lastEventAt: session.lastEventAt - 1 },
      { ...session, lastSeq: 3 },
    ]) {
      const subscription = hub.register(sid, stale)
      await subscription.changed(0, never)
      expect(subscription.endReason).to.equal('history_changed')
      subscription.close()
    }
    const subscription = hub.register(sid, session)
    await subscription.ready(never)
    expect(subscription.endReason).to.equal(undefined)
    subscription.close()
  })

  it('refuses a tail whose caller has seen another log than the tails that run, until it knows which is gone', async () => {
    await append(sid, 2)
    const session = await seen(sid)
    const subscription = hub.register(sid, session)
    await subscription.ready(never)
    for (const other of [
      { ...session, id: 'other' },
      { ...session, lastEventAt: session.lastEventAt - 1 },
    ])
      expect(() => hub.register(sid, other)).to.throw(AppError, 'may have gone back')

    await subscription.verified(never)
    hub.register(sid, session).close()
    await append(sid, 1)
    await subscription.changed(2, never)

    expect(seqs(subscription.after(2, 10))).to.deep.equal([3])
    subscription.close()
  })

  it('learns of removed content after content was removed while it read the head', async () => {
    let isReading = false
    let answer = () => {}
    const answered = new Promise<void>((resolve) => {
      answer = resolve
    })
    const query: Db['query'] = async (of, values) => {
      const rows = await db.query(of, values)
      if (of.name !== 'heads') return rows
      isReading = true
      await answered
      return rows
    }
    const patient = openHub(300_000, Object.create(db, { query: { value: query } }))
    const subscription = patient.register(sid)
    await subscription.ready(never)
    await client.query('update starcite.session_heads h set last_seq = 5 where h.sid = $1', [sid]) // none of them hot
    patient.hint(sid, 5)
    await until('it reads the head', () => isReading)
    patient.hint(sid, 5, 1)
    answer()
    await subscription.changed(4, never)
    patient.hint(sid, 5, 1)

    expect(subscription.removals).to.equal(2)
    subscription.close()
    await patient.stop()
  })

  it('stops within one query time-out when its database is away (I9)', async () => {
    const subscription = hub.register(sid)
    await subscription.ready(never)
    proxy.silence()
    hub.hint(sid, 5)
    await new Promise((resolve) => setImmediate(resolve))

    const { ms } = await timed(hub.stop())

    expect(ms).to.be.below(bound(1500))
    subscription.close()
  })
})
