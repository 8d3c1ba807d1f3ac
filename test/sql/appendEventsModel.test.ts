import { expect } from 'chai'
import fc from 'fast-check'
import type pg from 'pg'
import { appendEvents, createSessions, type EventItem } from '../support/appendEvents.ts'
import { faultsOfLog } from '../support/chain.ts'
import { Model, type ModelEvent, type ModelRequest } from '../support/model.ts'
import { connect, migratedDatabase } from '../support/template.ts'

/** What an event says, in spellings that the contract calls the same (one row) and different (another row). */
const CONTENTS: readonly (readonly Partial<EventItem>[])[] = [
  [{ payload: '{"a":1,"b":"é"}' }, { payload: '{ "b" : "\\u00e9", "a" : 1 }' }],
  [{ payload: '{"a":1.0,"b":"é"}' }],
  [{ payload: '{"a":1,"b":"é"}', type: 'other' }],
  [{ payload: '{"a":1,"b":"é"}', source: 'web' }],
  [
    { payload: '{"a":1,"b":"é"}', key: 'k' },
    { payload: '{"b":"é","a":1}', key: 'k', metadata: '{ }' },
  ],
  [
    { payload: '{}', refs: '{"step":1,"x":[]}' },
    { payload: ' {} ', refs: '{"x":[],"step":1}' },
  ],
]

const SESSIONS = ['one', 'two', 'erased', 'unknown'] as const
const PRODUCERS = ['p', 'q'] as const

const OUTCOMES = [
  'appended',
  'batch_refused',
  'deduped',
  'expected_seq_conflict',
  'producer_replay_conflict',
  'producer_seq_conflict',
  'session_erased',
  'session_not_found',
]

/** Sequence numbers are drawn as distances from what would be right, so that retries and near misses are common. */
const plannedEvent = fc.record({
  producer: fc.option(
    fc.record({
      id: fc.constantFrom(...PRODUCERS),
      off: fc.oneof(
        { weight: 5, arbitrary: fc.constant(0) },
        { weight: 4, arbitrary: fc.integer({ min: -4, max: 2 }) },
      ),
    }),
    { nil: undefined },
  ),
  content: fc.nat({ max: CONTENTS.length - 1 }).map((n) => (n < 2 ? n : n % 3 === 0 ? n : 0)),
  spelling: fc.nat({ max: 1 }),
  expectedOff: fc.option(fc.integer({ min: -1, max: 2 }), { nil: undefined, freq: 3 }),
})
const plannedRequest = fc.record({
  session: fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom('one', 'two') },
    { weight: 1, arbitrary: fc.constantFrom('erased', 'unknown') },
  ),
  atomic: fc.boolean(),
  events: fc.array(plannedEvent, { minLength: 1, maxLength: 5 }),
})
const plannedCalls = fc.array(fc.array(plannedRequest, { minLength: 1, maxLength: 6 }), {
  minLength: 1,
  maxLength: 6,
})
type PlannedRequest = typeof plannedRequest extends fc.Arbitrary<infer T> ? T : never

describe('starcite.append_events against a model of the contract', () => {
  let db: pg.Client
  let drop: () => Promise<void>
  let runs = 0

  before(async () => {
    const database = await migratedDatabase()
    db = await connect(database)
    drop = () => database.drop()
  })
  after(async () => {
    await db.end()
    await drop()
  })

  it('decides every sequence of calls as the model does, and stores what it said', async () => {
    const met = new Set<string>()
    await fc.assert(
      fc.asyncProperty(plannedCalls, async (calls) => {
        runs += 1
        const name = (session: string) => `${session} ${runs}`
        const model = new Model()
        for (const session of SESSIONS)
          if (session !== 'unknown') model.create(name(session), { erased: session === 'erased' })
        await createSessions(db, name('one'), name('two'), name('erased'))
        await db.query('update starcite.sessions s set erased_at = now() where s.id = $1', [name('erased')])

        for (const call of calls) {
          const requests = call.map((item) => concrete(model, item, name(item.session)))
          const items = requests.flatMap((request, index) => toItems(request, call[index]!, index))
          const expected = requests.flatMap((request) => model.append(request))
          expect(await appendEvents(db, items)).to.deep.equal(expected)
          for (const { outcome } of expected) met.add(outcome)
        }

        for (const session of ['one', 'two'].map(name)) {
          expect(await faultsOfLog(db, session)).to.deep.equal([])
          expect(await stored(db, session)).to.deep.equal(remembered(model, session))
        }
      }),
      { numRuns: 200 },
    )
    expect([...met].sort(), 'the draw meets every outcome').to.deep.equal(OUTCOMES)
  }).timeout(60_000)
})

/** Turns distances into numbers, by what the model knows before the call. */
function concrete(model: Model, planned: PlannedRequest, session: string): ModelRequest {
  let next = model.events(session).length
  const last = new Map(PRODUCERS.map((id) => [id, model.lastOf(session, id)] as const))
  return {
    session,
    atomic: planned.atomic,
    events: planned.events.map((event): ModelEvent => {
      const producer = event.producer && {
        id: event.producer.id,
        seq: Math.max(1, (last.get(event.producer.id) ?? 2) + 1 + event.producer.off),
      }
      const expectedSeq = event.expectedOff === undefined ? undefined : Math.max(0, next + event.expectedOff)
      if (producer && event.producer?.off === 0) last.set(event.producer.id, producer.seq)
      next += 1
      return { producer, content: String(event.content), expectedSeq }
    }),
  }
}

function toItems(request: ModelRequest, planned: PlannedRequest, index: number): EventItem[] {
  return request.events.map((event, i) => {
    const spellings = CONTENTS[Number(event.content)]!
    return {
      ...spellings[planned.events[i]!.spelling % spellings.length],
      session: request.session,
      ...(event.producer && { producer: [event.producer.id, event.producer.seq] as const }),
      ...(event.expectedSeq !== undefined && { expectedSeq: event.expectedSeq }),
      ...(request.atomic && { batch: index }),
    }
  })
}

async function stored(db: pg.Client, session: string) {
  const { rows } = await db.query(
    `select h.last_seq::int as last_seq,
            (select coalesce(json_agg(json_build_array(e.seq, e.producer_id, e.producer_seq) order by e.seq), '[]')
               from starcite.events e where e.sid = s.sid) as events,
            (select coalesce(json_agg(json_build_array(p.producer_id, p.producer_seq, p.seq) order by p.producer_id), '[]')
               from starcite.producers p where p.sid = s.sid) as producers
       from starcite.sessions s join starcite.session_heads h on h.sid = s.sid
      where s.id = $1`,
    [session],
  )
  const row = rows[0]
  return { lastSeq: row.last_seq, events: JSON.parse(row.events), producers: JSON.parse(row.producers) }
}

function remembered(model: Model, session: string) {
  const events = model.events(session)
  return {
    lastSeq: events.length,
    events: events.map((event, i) => [i + 1, event.producerId ?? null, event.producerSeq ?? null]),
    producers: PRODUCERS.filter((id) => model.lastOf(session, id) !== undefined).map((id) => [
      id,
      model.lastOf(session, id),
      events.findLastIndex((event) => event.producerId === id) + 1,
    ]),
  }
}
