import { expect } from 'chai'
import { appendEvents, createSessions } from '../support/appendEvents.ts'
import { until } from '../support/until.ts'
import { useConnection, useDatabase } from '../support/useNode.ts'

describe('notifications of new heads', () => {
  const database = useDatabase()
  const db = useConnection(database)
  const listener = useConnection(database)
  let received: string[]

  before(async () => {
    listener.on('notification', ({ payload }) => received.push(payload ?? ''))
    await listener.query('listen starcite_heads')
    await createSessions(db, 'a', 'b', 'c')
  })
  beforeEach(() => {
    received = []
  })

  /** What was notified since the test began: notifications arrive in the order of commits. */
  async function notified(): Promise<string[]> {
    await db.query(`notify starcite_heads, 'end'`)
    await until('the last notification', () => received.at(-1) === 'end')
    return received.slice(0, -1)
  }
  const sid = async (id: string) =>
    Number((await db.query('select s.sid from starcite.sessions s where s.id = $1', [id])).rows[0].sid)

  it('are one per call, for any number of sessions, and name the head of each', async () => {
    await appendEvents(db, [{ session: 'c' }, { session: 'a' }, { session: 'c' }, { session: 'nowhere' }])

    const heads = [
      [await sid('a'), 1],
      [await sid('c'), 2],
    ]
    expect(await notified()).to.deep.equal([JSON.stringify(heads)])
  })

  it('are not sent by a call that appends nothing', async () => {
    const item = { session: 'b', producer: ['p', 1] } as const
    await appendEvents(db, [item])
    await notified()
    received = []

    await appendEvents(db, [item, { session: 'b', expectedSeq: 99 }, { session: 'nowhere' }])
    await appendEvents(db, [
      { session: 'b', batch: 1 },
      { session: 'b', batch: 1, expectedSeq: 99 },
    ])

    expect(await notified()).to.deep.equal([])
  })

  it('come with the commit of the transaction, or not at all', async () => {
    await db.query('begin')
    await db.query(`select starcite.append('b', 't', '{}')`)
    await listener.query('select')
    expect(received).to.deep.equal([])
    await db.query('commit')
    expect(await notified()).to.deep.equal([JSON.stringify([[await sid('b'), 2]])])

    received = []
    await db.query('begin')
    await db.query(`select starcite.append('b', 't', '{}')`)
    await db.query('rollback')
    expect(await notified()).to.deep.equal([])
  })

  it('are split below the 8,000 bytes that Postgres takes', async () => {
    const ids = Array.from({ length: 3000 }, (_, i) => `many ${i}`)
    // The longest numbers that can be, so that pairs are as long as they get.
    await db.query('alter sequence starcite.sessions_sid_seq restart with 9000000000000000000')
    await createSessions(db, ...ids)
    await db.query('update starcite.session_heads h set last_seq = 8000000000000000000 where h.sid > 1000000')

    const outcomes = await appendEvents(
      db,
      ids.map((session) => ({ session })),
    )

    expect(outcomes.every((outcome) => outcome.outcome === 'appended')).to.equal(true)
    const payloads = await notified()
    expect(payloads.length).to.be.within(16, 17)
    expect(Math.max(...payloads.map((payload) => Buffer.byteLength(payload)))).to.be.below(8000)
    const pairs = payloads.flatMap((payload) => payload.slice(2, -2).split('],['))
    expect(new Set(pairs).size).to.equal(ids.length)
    expect(pairs.every((pair) => /^9\d{18},8000000000000000001$/.test(pair))).to.equal(true)
  })
})
