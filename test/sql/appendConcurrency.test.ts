import { expect } from 'chai'
import type pg from 'pg'
import { appendEvents, briefly, createSessions, type EventItem } from '../support/appendEvents.ts'
import { faultsOfLog } from '../support/chain.ts'
import { connect } from '../support/template.ts'
import { until } from '../support/until.ts'
import { useDatabase } from '../support/useNode.ts'

describe('starcite.append_events on several connections', () => {
  const database = useDatabase()
  let writers: pg.Client[]
  let db: pg.Client
  let second: pg.Client

  before(async () => {
    writers = await Promise.all(Array.from({ length: 6 }, () => connect(database)))
    db = writers[0]!
    second = writers[1]!
  })
  after(async () => {
    await Promise.all(writers.map((writer) => writer.end()))
  })

  const blocked = (client: pg.Client) =>
    until('the other call waits for a lock', async () => {
      const pid = (client as unknown as { processID: number }).processID
      const { rows } = await db.query('select cardinality(pg_catalog.pg_blocking_pids($1)) > 0 as waits', [
        pid,
      ])
      return rows[0].waits
    })

  it('never deadlocks over overlapping sessions, and numbers each without a gap (I1)', async () => {
    const sessions = Array.from({ length: 8 }, (_, i) => `crowd ${i}`)
    await createSessions(db, ...sessions)
    const sent = new Map(sessions.map((session) => [session, 0]))
    let calls = 500
    const write = async (client: pg.Client, random: () => number) => {
      while (calls-- > 0) {
        const items = Array.from({ length: 12 }, () => ({ session: sessions[Math.floor(random() * 8)]! }))
        const outcomes = await appendEvents(client, items)
        expect(outcomes.every((outcome) => outcome.outcome === 'appended')).to.equal(true)
        for (const { session } of items) sent.set(session, sent.get(session)! + 1)
      }
    }

    await Promise.all(writers.map((client, i) => write(client, pseudoRandom(i + 1))))

    for (const session of sessions) {
      expect(await faultsOfLog(db, session)).to.deep.equal([])
      expect(await lastSeq(session)).to.equal(sent.get(session))
    }
  }).timeout(30_000)

  it('goes on from what the holder of a session committed, or as if it had not been', async () => {
    for (const end of ['commit', 'rollback']) {
      await createSessions(db, `held ${end}`)
      await db.query('begin')
      await appendEvents(db, [{ session: `held ${end}`, producer: ['p', 1] }])

      const waiting = appendEvents(second, [
        { session: `held ${end}`, producer: ['p', 1] },
        { session: `held ${end}`, expectedSeq: 1 },
      ])
      await blocked(second)
      await db.query(end)

      const first = end === 'commit' ? 'deduped 1' : 'appended 1'
      expect(briefly(await waiting)).to.deep.equal([first, 'appended 2'])
      expect(await faultsOfLog(db, `held ${end}`)).to.deep.equal([])
    }
  })

  it('leaves alone a session that was created while it waited: its head is not locked', async () => {
    await createSessions(db, 'waited for')
    await db.query('begin')
    await appendEvents(db, [{ session: 'waited for' }])

    const waiting = appendEvents(second, [{ session: 'waited for' }, { session: 'late' }])
    await blocked(second)
    await createSessions(writers[2]!, 'late')
    await appendEvents(writers[2]!, [{ session: 'late' }])
    await db.query('commit')

    expect(briefly(await waiting)).to.deep.equal(['appended 2', 'session_not_found'])
    expect(briefly(await appendEvents(second, [{ session: 'late' }]))).to.deep.equal(['appended 2'])
  })

  it('stores one event for a retry sent on every connection at once (I4)', async () => {
    await createSessions(db, 'retried')
    const item: EventItem = { session: 'retried', producer: ['p', 1] }

    const outcomes = await Promise.all(writers.map((client) => appendEvents(client, [item])))

    expect(outcomes.flatMap(briefly).sort()).to.deep.equal(['appended 1', ...Array(5).fill('deduped 1')])
  })

  it('lets one of many through that expect the same seq', async () => {
    await createSessions(db, 'raced')

    const outcomes = await Promise.all(
      writers.map((client) => appendEvents(client, [{ session: 'raced', expectedSeq: 0 }])),
    )

    expect(outcomes.flatMap(briefly).sort()).to.deep.equal([
      'appended 1',
      ...Array(5).fill('expected_seq_conflict'),
    ])
  })

  it('gives up on a session that is held for longer than 2 s, and tells which one it was', async () => {
    await createSessions(db, 'free', 'kept')
    await db.query('begin')
    await appendEvents(db, [{ session: 'kept' }])

    const failure = await appendEvents(second, [{ session: 'free' }, { session: 'kept' }]).catch(
      (error) => error,
    )
    const { rows } = await second.query('select b.* from starcite.busy_sessions($1, $2) as b (position)', [
      ['default', 'default', 'default', 'default', 'other'],
      ['kept', 'free', 'nowhere', 'kept', 'kept'],
    ])
    await db.query('rollback')

    expect(failure).to.have.property('code', '55P03')
    expect(rows.map((row) => row.position).sort()).to.deep.equal([1, 4])
    expect(briefly(await appendEvents(second, [{ session: 'free' }, { session: 'kept' }]))).to.deep.equal([
      'appended 1',
      'appended 1',
    ])
  })

  it('does not block transactions that only read or look for busy sessions', async () => {
    await createSessions(db, 'read')
    await db.query('begin')
    await appendEvents(db, [{ session: 'read' }])

    await second.query(`set lock_timeout = '200ms'`)
    await second.query('select from starcite.events')
    await second.query(`select starcite.busy_sessions('{default}', '{read}')`)
    await second.query('reset lock_timeout')
    await db.query('commit')
  })

  async function lastSeq(session: string): Promise<number> {
    const { rows } = await db.query(
      'select h.last_seq from starcite.session_heads h join starcite.sessions s on s.sid = h.sid where s.id = $1',
      [session],
    )
    return Number(rows[0].last_seq)
  }
})

/** Park and Miller's generator: the same draw in every run. */
function pseudoRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 48_271) % 2_147_483_647
    return state / 2_147_483_647
  }
}
