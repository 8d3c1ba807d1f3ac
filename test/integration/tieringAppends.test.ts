import { expect } from 'chai'
import { appended } from '../../src/db/pace.ts'
import { DbSession } from '../../src/db/session.ts'
import { createLog } from '../../src/ops/log.ts'
import { appendEvents, briefly } from '../support/appendEvents.ts'
import { call } from '../support/client.ts'
import { startNode } from '../support/node.ts'
import { bound } from '../support/slack.ts'
import { connect } from '../support/template.ts'
import { someEvents, TieringLab } from '../support/tiering.ts'
import { timed, until } from '../support/until.ts'
import { useEach } from '../support/use.ts'

/** The node's own job stays out of it. */
const NO_JOB = { STARCITE_ARCHIVE_FLUSH_INTERVAL_MS: '86400000' }

describe('appending while segments move', () => {
  const lab = useEach(() => TieringLab.open())
  let sid: string

  beforeEach(async () => {
    sid = await lab.session('one')
  })

  const from = (seq: number, payload = `{"n":${seq}}`) => ({
    session: 'one',
    producer: ['p', seq] as const,
    payload,
  })

  it('remembers a producer whose events are cold, dropped or hot (I4)', async () => {
    await lab.append([1, 2, 3].map((seq) => from(seq)))
    await lab.move()

    // Its newest is known for ever; what is older was known by its event.
    expect(await appendEvents(lab.db, [from(3)])).to.deep.include({
      outcome: 'deduped',
      seq: 3,
      lastSeq: 3,
      expected: null,
    })
    expect(await appendEvents(lab.db, [from(2)])).to.deep.include({
      outcome: 'producer_seq_conflict',
      seq: null,
      lastSeq: 3,
      expected: 4,
    })
    expect(briefly(await appendEvents(lab.db, [from(3, '{"n":"another"}')]))).to.deep.equal([
      'producer_replay_conflict',
    ])
    expect(briefly(await appendEvents(lab.db, [from(5)]))).to.deep.equal(['producer_seq_conflict'])

    await lab.append([from(4), from(5)])
    expect(briefly(await appendEvents(lab.db, [from(4), from(5)]))).to.deep.equal(['deduped 4', 'deduped 5'])
    expect(await lab.read(sid)).to.have.lengthOf(5)
  })

  it('answers the same at every step of the move of the original (I4)', async () => {
    await lab.append([1, 2, 3].map((seq) => from(seq)))

    const answers: string[][] = []
    await lab.move({
      probe: async () => {
        answers.push(briefly(await appendEvents(lab.db, [from(3)])))
      },
    })

    expect(answers).to.deep.equal(answers.map(() => ['deduped 3']))
    expect(await lab.read(sid)).to.have.lengthOf(3)
  })

  it('never puts an event into a segment that is closed, though the clock is still in it', async () => {
    await lab.append(someEvents([{ session: 'one' }], 10))

    await lab.move({ probe: (step) => step === 'closed' && lab.append([{ session: 'one' }]) })

    const { rows } = await lab.db.query(
      `select bool_and(e.inserted_at >= s.value::timestamptz) as later, min(e.inserted_at) > clock_timestamp() as ahead
         from starcite.events e, starcite.settings s where s.name = 'closed_before'`,
    )
    expect(rows).to.deep.equal([{ later: true, ahead: true }])
    expect((await lab.read(sid)).map((frame) => JSON.parse(frame).seq)).to.deep.equal(
      Array.from({ length: 11 }, (_, i) => i + 1),
    )
  })

  it('goes on while the clock has jumped, ahead and back: times of a session never run backwards, and all of it moves', async () => {
    await lab.append(someEvents([{ session: 'one' }], 5))
    // What a clock leaves behind that was a year ahead for a moment.
    await lab.db.query(
      `update starcite.session_heads h set last_event_at = clock_timestamp() + interval '1 year' where h.sid = $1`,
      [sid],
    )
    const other = await lab.session('two')
    await lab.append([{ session: 'one' }, { session: 'two' }])
    await lab.move()
    await lab.append([{ session: 'one' }, { session: 'two' }])
    const before = await lab.shown(sid)
    await lab.move()

    expect(await lab.shown(sid)).to.deep.equal(before)
    const times = (await lab.read(sid)).map((frame) => JSON.parse(frame).inserted_at)
    expect(times).to.deep.equal([...times].sort())
    expect(await lab.read(other)).to.have.lengthOf(2)
    expect(await lab.count('events')).to.equal(0)
  })

  it('shows the job at once that others append, so that it gives way to them', async () => {
    const job = await DbSession.open(lab.database.url, 'job', 5000, createLog('silent'))
    const appender = await connect(lab.database)
    await appendEvents(appender, [{ session: 'one' }])
    const before = await appended(job)
    await appendEvents(
      appender,
      someEvents([{ session: 'one' }], 500).map(({ producer, ...event }) => event),
    )
    const after = await appended(job)

    expect(after.bytes - before.bytes).to.be.above(500 * 200)
    await appender.end() // which reports what it did; else it reports when it appends a second later
    await until('Postgres counts them', async () => (await appended(job)).events === 501)
    await job.stop()
  })

  describe('by a node', () => {
    const node = useEach(() => startNode(lab.database, NO_JOB))

    beforeEach(async () => {
      await lab.append([{ session: 'one' }])
    })

    it('tries again when the segment was closed between the time it took and the insert', async () => {
      const closer = await connect(lab.database)
      const [segment] = await lab.segments()
      await closer.query('begin')
      await closer.query(
        `alter table starcite."${segment?.name}" add constraint segment_is_closed check (false) not valid`,
      )
      await closer.query(
        `update starcite.settings s set value = (select g.to_at::text from starcite.segments g where g.name = $1) where s.name = 'closed_before'`,
        [segment?.name],
      )
      const answer = call('POST', `${node.url}/v1/sessions/one/append`, { type: 'late', payload: {} })
      await until('the append waits for the segment', async () => {
        const { rows } = await lab.db.query(
          `select from pg_catalog.pg_stat_activity a where a.datname = current_database() and a.application_name = 'starcite append' and a.wait_event_type = 'Lock'`,
        )
        return rows.length > 0
      })
      await closer.query(`update starcite.segments g set state = 'closed' where g.name = $1`, [segment?.name])
      await closer.query('commit')
      await closer.end()

      expect((await answer).status).to.equal(201)
      expect((await answer).json).to.include({ seq: 2, deduped: false })
      await lab.makeAllDue()
      await lab.move()
      expect((await lab.read(sid)).map((frame) => JSON.parse(frame).type)).to.deep.equal(['content', 'late'])
    })

    it('loses and doubles nothing while segment after segment is closed and moved under it (I1, I2)', async () => {
      await lab.makeAllDue()
      let moving = true
      const moves = (async () => {
        // A round that finds the segment's lock taken leaves it to the next one.
        await until('eight segments were moved', async () => {
          await lab.move()
          return (await lab.segments()).filter(({ state }) => state === 'dropped').length >= 8
        }).finally(() => {
          moving = false
        })
      })()
      const seqs: number[] = []
      let slowestMs = 0
      const writer = async (name: string) => {
        for (let n = 1; moving; n += 1) {
          const body = { type: 't', payload: {}, producer_id: name, producer_seq: n }
          const { value, ms } = await timed(call('POST', `${node.url}/v1/sessions/one/append`, body))
          expect(value.status, value.text).to.equal(201)
          seqs.push(value.json.seq)
          slowestMs = Math.max(slowestMs, ms)
        }
      }
      await Promise.all([moves, ...['a', 'b', 'c'].map(writer)])

      const total = await lab.lastSeq(sid)
      expect(seqs.sort((a, b) => a - b)).to.deep.equal(Array.from({ length: total - 1 }, (_, i) => i + 2))
      expect((await lab.read(sid)).map((frame) => JSON.parse(frame).seq)).to.deep.equal(
        Array.from({ length: total }, (_, i) => i + 1),
      )
      expect(slowestMs).to.be.below(bound(3000))
    })
  })
})
