import { expect } from 'chai'
import type pg from 'pg'
import { appendEvents, briefly, createSessions, type EventItem } from '../support/appendEvents.ts'
import { faultsOfLog } from '../support/chain.ts'
import { connect, migratedDatabase } from '../support/template.ts'

describe('starcite.append_events', () => {
  let db: pg.Client
  let drop: () => Promise<void>
  let s: string
  let sessions = 0

  before(async () => {
    const database = await migratedDatabase()
    db = await connect(database)
    drop = () => database.drop()
  })
  after(async () => {
    await db.end()
    await drop()
  })
  beforeEach(async () => {
    sessions += 1
    s = `s${sessions}`
    await createSessions(db, s)
  })

  const append = async (...items: EventItem[]) => briefly(await appendEvents(db, items))
  const event = (producer?: readonly [string, number], more: Partial<EventItem> = {}): EventItem => ({
    session: s,
    ...(producer && { producer }),
    ...more,
  })
  const erase = (id: string) =>
    db.query('update starcite.sessions s set erased_at = now() where s.id = $1', [id])
  const count = async () => (await db.query('select from starcite.events')).rowCount

  it('answers an empty call with no rows', async () => {
    expect(await append()).to.deep.equal([])
    const { rows } = await db.query(
      'select * from starcite.append_events(null, null, null, null, null, null, null, null, null, null, null, null, null)',
    )
    expect(rows).to.deep.equal([])
  })

  it('numbers each session from 1, with events of other sessions between its own', async () => {
    await createSessions(db, `${s}b`, `${s}a`)
    const ids = [s, `${s}b`, `${s}a`, s, `${s}a`, s]

    const outcomes = await append(...ids.map((session) => ({ session })))

    expect(outcomes).to.deep.equal([
      'appended 1',
      'appended 1',
      'appended 1',
      'appended 2',
      'appended 2',
      'appended 3',
    ])
  })

  it('stores what was given and only that, to the letter', async () => {
    const texts = {
      payload: '{ "n": 1.0, "big": 90071992547409930001, "n": "\\u00e9" }',
      metadata: '{"b":1, "a":2}',
      refs: '{ }',
    }
    await append(event(['p', 7], { ...texts, type: 't', actor: 'a', source: 'web', key: 'k' }), event())

    const { rows } = await db.query(
      `select e.seq, e.type, e.actor, e.source, e.producer_id, e.producer_seq, e.idempotency_key, e.payload::text,
              e.metadata::text, e.refs::text, octet_length(e.salt) as salt
         from starcite.events e join starcite.sessions s on s.sid = e.sid where s.id = $1 order by e.seq`,
      [s],
    )
    expect(rows).to.deep.equal([
      {
        seq: '1',
        type: 't',
        actor: 'a',
        source: 'web',
        producer_id: 'p',
        producer_seq: '7',
        idempotency_key: 'k',
        ...texts,
        salt: 16,
      },
      {
        seq: '2',
        type: 'content',
        actor: 'agent:a',
        source: null,
        producer_id: null,
        producer_seq: null,
        idempotency_key: null,
        payload: '{}',
        metadata: '{}',
        refs: '{}',
        salt: 16,
      },
    ])
  })

  it('takes no metadata and no refs for {}, alone and among others, and in retries', async () => {
    await append(event())
    await append(event(['p', 1]), event(undefined, { metadata: '{"a":1}' }))
    const outcomes = await append(event(['p', 1], { metadata: '{}', refs: '{}' }))
    expect(outcomes).to.deep.equal(['deduped 2'])

    const { rows } = await db.query(
      `select e.metadata::text, e.refs::text from starcite.events e join starcite.sessions s on s.sid = e.sid
        where s.id = $1 order by e.seq`,
      [s],
    )
    expect(rows.map(Object.values)).to.deep.equal([
      ['{}', '{}'],
      ['{}', '{}'],
      ['{"a":1}', '{}'],
    ])
    expect(await faultsOfLog(db, s)).to.deep.equal([])
  })

  it('knows sessions by tenant and id together', async () => {
    await db.query(`select starcite.create_session('other', $1)`, [s])

    const outcomes = await append(
      event(),
      event(undefined, { tenant: 'other' }),
      event(undefined, { tenant: 'third' }),
    )

    expect(outcomes).to.deep.equal(['appended 1', 'appended 1', 'session_not_found'])
  })

  it('lets good events through beside unknown and erased sessions', async () => {
    await createSessions(db, `${s}erased`)
    await erase(`${s}erased`)
    const ids = ['nowhere', s, `${s}erased`, 'nowhere', s]

    const outcomes = await appendEvents(
      db,
      ids.map((session) => ({ session })),
    )

    expect(briefly(outcomes)).to.deep.equal([
      'session_not_found',
      'appended 1',
      'session_erased',
      'session_not_found',
      'appended 2',
    ])
    expect(outcomes.map((outcome) => outcome.lastSeq)).to.deep.equal([null, 1, 0, null, 2])
  })

  it('gives a time to what it appends, and to nothing else', async () => {
    await append(event(['p', 1]))
    const { rows } = await db.query(
      `select a.outcome, a.inserted_at from starcite.append_events(
                array_fill('default'::text, '{4}'), array[$1, $1, $1, 'nowhere'], array_fill('content'::text, '{4}'),
                array_fill('{}'::json, '{4}'), array_fill('agent:a'::text, '{4}'), array_fill(null::text, '{4}'),
                array[null, 'p', 'p', null], array[null, 1, 9, null]::bigint[], array_fill(null::text, '{4}'),
                array_fill('{}'::json, '{4}'), array_fill('{}'::json, '{4}'), array_fill(null::bigint, '{4}'),
                array_fill(null::int, '{4}')) a`,
      [s],
    )
    expect(rows.map((row) => [row.outcome, row.inserted_at === null])).to.deep.equal([
      ['appended', false],
      ['deduped', true],
      ['producer_seq_conflict', true],
      ['session_not_found', true],
    ])
    expect(rows[0].inserted_at).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
  })

  it('stores nothing of a call in which everything is refused', async () => {
    const before = await count()

    const outcomes = await append(event(undefined, { expectedSeq: 3 }), { session: 'nowhere' })

    expect(outcomes).to.deep.equal(['expected_seq_conflict', 'session_not_found'])
    expect(await count()).to.equal(before)
  })

  describe('producers', () => {
    it('takes an unknown producer at any number, then the next ones only', async () => {
      expect(await append(event(['p', 41]), event(['p', 42]), event(['q', 1]))).to.deep.equal([
        'appended 1',
        'appended 2',
        'appended 3',
      ])

      const [gap, older] = await appendEvents(db, [event(['p', 44]), event(['p', 7])])

      expect(gap).to.deep.equal({ outcome: 'producer_seq_conflict', seq: null, lastSeq: 3, expected: 43 })
      expect(older).to.deep.equal({ outcome: 'producer_seq_conflict', seq: null, lastSeq: 3, expected: 43 })
    })

    it('keeps interleaved producers apart, and those of each session', async () => {
      await createSessions(db, `${s}b`)
      const other = { session: `${s}b` }

      const outcomes = await append(
        event(['p', 1]),
        event(['q', 5]),
        event(['p', 1], other),
        event(['p', 2]),
        event(['q', 6]),
        event(['p', 2], other),
      )

      expect(outcomes).to.deep.equal([
        'appended 1',
        'appended 2',
        'appended 1',
        'appended 3',
        'appended 4',
        'appended 2',
      ])
    })

    it('dedupes against the latest, against older hot events, and within one call', async () => {
      await append(event(['p', 1], { payload: '{"n":1}' }), event(), event(['p', 2], { payload: '{"n":2}' }))

      const outcomes = await appendEvents(db, [
        event(['p', 2], { payload: '{"n":2}' }),
        event(['p', 1], { payload: '{"n":1}' }),
        event(['p', 3], { payload: '{"n":3}' }),
        event(['p', 3], { payload: '{"n":3}' }),
        event(['p', 2], { payload: '{"n":2}' }),
      ])

      expect(briefly(outcomes)).to.deep.equal([
        'deduped 3',
        'deduped 1',
        'appended 4',
        'deduped 4',
        'deduped 3',
      ])
      expect(outcomes.map((outcome) => outcome.lastSeq)).to.deep.equal([3, 3, 4, 4, 4])
    })

    it('dedupes the latest even when its segment is gone, and asks for the next number for older ones', async () => {
      await append(event(['p', 1]), event(['p', 2]))
      await db.query(
        'delete from starcite.events e using starcite.sessions s where s.sid = e.sid and s.id = $1',
        [s],
      )

      expect(await append(event(['p', 2]), event(['p', 1]))).to.deep.equal([
        'deduped 2',
        'producer_seq_conflict',
      ])
    })

    it('refuses another content under a number that was used, wherever it looks it up', async () => {
      await append(event(['p', 1]), event(['p', 2]))
      const other = { payload: '{"other":true}' }

      const outcomes = await append(
        event(['p', 1], other),
        event(['p', 2], other),
        event(['p', 3]),
        event(['p', 3], other),
      )

      expect(outcomes).to.deep.equal([
        'producer_replay_conflict',
        'producer_replay_conflict',
        'appended 3',
        'producer_replay_conflict',
      ])
    })

    it('consumes nothing by a refusal: the producer may still use its number', async () => {
      expect(await append(event(['p', 1], { expectedSeq: 9 }), event(['p', 1]))).to.deep.equal([
        'expected_seq_conflict',
        'appended 1',
      ])
      expect(await append(event(['p', 2], { expectedSeq: 0 }))).to.deep.equal(['expected_seq_conflict'])
      expect(await append(event(['p', 2]))).to.deep.equal(['appended 2'])
    })
  })

  describe('content equality', () => {
    const same: [string, Partial<EventItem>, Partial<EventItem>][] = [
      ['key order', { payload: '{"a":1,"b":[1,2]}' }, { payload: '{"b":[1,2],"a":1}' }],
      ['white space', { payload: '{"a":1}' }, { payload: ' {\n"a" :\t1 } ' }],
      ['escapes', { payload: '{"a":"é/"}' }, { payload: '{"\\u0061":"\\u00e9\\/"}' }],
      ['surrogate pairs', { payload: '{"a":"😀"}' }, { payload: '{"a":"\\ud83d\\uDE00"}' }],
      [
        'half of a surrogate pair',
        { payload: '{"a":"\\ud83d","b":1}' },
        { payload: '{"b":1, "a":"\\ud83d"}' },
      ],
      [
        'key order in refs and metadata',
        { refs: '{"a":1,"b":2}', metadata: '{"a":1,"b":2}' },
        { refs: '{"b":2,"a":1}', metadata: '{"b":2,"a":1}' },
      ],
    ]
    for (const [what, first, retry] of same)
      it(`looks past ${what}`, async () => {
        expect(await append(event(['p', 1], first))).to.deep.equal(['appended 1'])
        expect(await append(event(['p', 1], retry))).to.deep.equal(['deduped 1'])
        await append(event(['p', 2]))
        expect(await append(event(['p', 1], retry)), 'as an older event').to.deep.equal(['deduped 1'])
      })

    const different: [string, Partial<EventItem>, Partial<EventItem>][] = [
      ['1 and 1.0', { payload: '{"a":1}' }, { payload: '{"a":1.0}' }],
      ['1 and "1"', { payload: '{"a":1}' }, { payload: '{"a":"1"}' }],
      ['big integers', { payload: '{"a":9007199254740993}' }, { payload: '{"a":9007199254740992}' }],
      ['the order of an array', { payload: '{"a":[1,2]}' }, { payload: '{"a":[2,1]}' }],
      ['the two halves of a pair', { payload: '{"a":"\\ud83d"}' }, { payload: '{"a":"\\ude00"}' }],
      ['null and nothing', { payload: '{"a":null}' }, { payload: '{}' }],
      ['type', {}, { type: 'other' }],
      ['actor', {}, { actor: 'agent:b' }],
      ['source', {}, { source: 'web' }],
      ['idempotency_key', {}, { key: 'k' }],
      ['source and idempotency_key', { source: 'x' }, { key: 'x' }],
      ['where a value stands', { payload: '{"a":1}' }, { metadata: '{"a":1}' }],
      ['metadata and refs', { metadata: '{"a":1}' }, { refs: '{"a":1}' }],
      ['where one field ends', { type: 'ab', actor: 'c' }, { type: 'a', actor: 'bc' }],
    ]
    for (const [what, first, retry] of different)
      it(`tells apart ${what}`, async () => {
        expect(await append(event(['p', 1], first))).to.deep.equal(['appended 1'])
        expect(await append(event(['p', 1], retry))).to.deep.equal(['producer_replay_conflict'])
        await append(event(['p', 2]))
        expect(await append(event(['p', 1], retry)), 'as an older event').to.deep.equal([
          'producer_replay_conflict',
        ])
      })
  })

  describe('expected_seq', () => {
    it('is held against the session as the events before have left it', async () => {
      const outcomes = await appendEvents(db, [
        event(undefined, { expectedSeq: 0 }),
        event(undefined, { expectedSeq: 0 }),
        event(undefined, { expectedSeq: 1 }),
      ])

      expect(briefly(outcomes)).to.deep.equal(['appended 1', 'expected_seq_conflict', 'appended 2'])
      expect(outcomes[1]?.lastSeq, 'what the session is at').to.equal(1)
    })

    it('comes after dedupe and after the producer', async () => {
      await append(event(['p', 1], { expectedSeq: 0 }), event())

      const outcomes = await append(
        event(['p', 1], { expectedSeq: 0 }),
        event(['p', 5], { expectedSeq: 9 }),
        event(['p', 1], { payload: '{"x":1}', expectedSeq: 9 }),
      )

      expect(outcomes).to.deep.equal(['deduped 1', 'producer_seq_conflict', 'producer_replay_conflict'])
    })

    it('that met a retry stands for the rest of its batch', async () => {
      await append(event(['p', 1]), event(['p', 2]))
      const batch = { batch: 1 }

      expect(
        await append(event(['p', 1], { ...batch, expectedSeq: 0 }), event(['p', 2], batch)),
      ).to.deep.equal(['deduped 1', 'deduped 2'])
      expect(
        await append(
          event(['p', 1], { ...batch, expectedSeq: 0 }),
          event(['p', 2], batch),
          event(['p', 3], batch),
        ),
      ).to.deep.equal(['batch_refused', 'batch_refused', 'expected_seq_conflict'])
      expect(
        await append(
          event(['p', 1], { ...batch, expectedSeq: 2 }),
          event(['p', 2], batch),
          event(['p', 3], batch),
          event(['p', 4], batch),
        ),
      ).to.deep.equal(['deduped 1', 'deduped 2', 'appended 3', 'appended 4'])
      expect(
        await append(event(['p', 4], { batch: 1, expectedSeq: 0 }), event(['p', 5], { batch: 2 })),
        'but not beyond it',
      ).to.deep.equal(['deduped 4', 'appended 5'])
      expect(
        await append(event(['p', 5], { expectedSeq: 0 }), event(['p', 6])),
        'nor without one',
      ).to.deep.equal(['deduped 5', 'appended 6'])
    })
  })

  describe('batches', () => {
    it('takes all of a batch back with any of it, at every place, and tells why there', async () => {
      for (const bad of [0, 1, 2]) {
        const items = [0, 1, 2].map((i) =>
          event([`p${i}`, 1], { batch: 7, ...(i === bad && { expectedSeq: 99 }) }),
        )
        const wanted = [0, 1, 2].map((i) => (i === bad ? 'expected_seq_conflict' : 'batch_refused'))
        expect(await append(...items)).to.deep.equal(wanted)
      }
      expect(await append(event(['p0', 1]), event(['p2', 9]))).to.deep.equal(['appended 1', 'appended 2'])
    })

    it('says once why a batch to an unknown or erased session is refused', async () => {
      await createSessions(db, `${s}erased`)
      await erase(`${s}erased`)
      const [unknown, erased] = [
        { session: 'nowhere', batch: 1 },
        { session: `${s}erased`, batch: 2 },
      ]

      expect(await append(unknown, unknown, erased, erased)).to.deep.equal([
        'session_not_found',
        'batch_refused',
        'session_erased',
        'batch_refused',
      ])
    })

    it('shows later events of the call the session as if a refused batch had not been', async () => {
      const outcomes = await appendEvents(db, [
        event(['p', 1], { batch: 1 }),
        event(['p', 2], { batch: 1 }),
        event(['p', 9], { batch: 1 }),
        event(['p', 3]),
        event(['p', 4], { expectedSeq: 1, batch: 2 }),
        event(['p', 4], { batch: 2 }),
      ])

      expect(briefly(outcomes)).to.deep.equal([
        'batch_refused',
        'batch_refused',
        'producer_seq_conflict',
        'appended 1',
        'appended 2',
        'deduped 2',
      ])
      expect(
        outcomes.map((outcome) => outcome.lastSeq),
        'no seq that never was',
      ).to.deep.equal([0, 0, 2, 1, 2, 2])
      expect(outcomes[2]?.expected, 'what would have done at its place').to.equal(3)
    })

    it('looks through a refused batch for what was stored before it', async () => {
      const outcomes = await append(
        event(['p', 1]),
        event(['p', 2], { batch: 1 }),
        event(['p', 3], { batch: 1, expectedSeq: 77 }),
        event(['p', 1]),
        event(['p', 2], { payload: '{"another":1}' }),
        event(['p', 2], { payload: '{"another":1}' }),
      )

      expect(outcomes).to.deep.equal([
        'appended 1',
        'batch_refused',
        'expected_seq_conflict',
        'deduped 1',
        'appended 2',
        'deduped 2',
      ])
    })

    it('dedupes a whole batch that is sent again, in the same call and later', async () => {
      const batch = (n: number) => [1, 2, 3].map((i) => event(['p', i], { batch: n, payload: `{"i":${i}}` }))

      expect(await append(...batch(1), ...batch(2))).to.deep.equal([
        'appended 1',
        'appended 2',
        'appended 3',
        'deduped 1',
        'deduped 2',
        'deduped 3',
      ])
      await append(event())
      expect(await append(...batch(1))).to.deep.equal(['deduped 1', 'deduped 2', 'deduped 3'])
    })

    it('goes on from where a part of the batch is known', async () => {
      await append(event(['p', 1]), event(['p', 2]))

      expect(await append(...[1, 2, 3, 4].map((i) => event(['p', i], { batch: 1 })))).to.deep.equal([
        'deduped 1',
        'deduped 2',
        'appended 3',
        'appended 4',
      ])
    })

    it('ends a batch where its session ends, even if the number goes on', async () => {
      await createSessions(db, `${s}b`)
      const other = { session: `${s}b` }

      const outcomes = await append(
        event(undefined, { batch: 1 }),
        { ...other, batch: 1 },
        event(undefined, { batch: 1, expectedSeq: 50 }),
        { ...other, batch: 1 },
      )

      expect(outcomes).to.deep.equal(['batch_refused', 'appended 1', 'expected_seq_conflict', 'appended 2'])
    })
  })

  it('extends one hash chain over calls, batches, retries and refusals', async () => {
    await append(
      event(['p', 1]),
      event(undefined, { payload: '{"t":"😀"}' }),
      event(undefined, { expectedSeq: 0 }),
    )
    await append(event(['p', 1]), event(['p', 2], { batch: 1 }), event(['p', 4], { batch: 1 }))
    await append(event(['p', 2], { source: 's', key: 'k', refs: '{"step":1}' }))

    expect(await faultsOfLog(db, s)).to.deep.equal([])
    const { rows } = await db.query(
      'select h.last_seq from starcite.session_heads h join starcite.sessions s on s.sid = h.sid where s.id = $1',
      [s],
    )
    expect(rows[0].last_seq).to.equal('3')
  })

  it('begins each chain with the name of its session', async () => {
    const { rows } = await db.query(
      `select starcite.genesis_hash('a', 'bc') <> starcite.genesis_hash('ab', 'c') as tenant_and_id_are_apart,
              h.chain_hash = starcite.genesis_hash('default', s.id) as starts_there
         from starcite.sessions s join starcite.session_heads h on h.sid = s.sid where s.id = $1`,
      [s],
    )
    expect(rows).to.deep.equal([{ tenant_and_id_are_apart: true, starts_there: true }])
  })

  it('fails as a whole, storing nothing, on what no caller may send', async () => {
    await append(event())
    const before = await count()

    const failure = await appendEvents(db, [event(), event(['p', 1], { payload: '{"a":"\\u0000"}' })]).catch(
      (error) => error,
    )

    expect(failure).to.have.property('code', '22P05')
    expect(await count()).to.equal(before)
    expect(await append(event())).to.deep.equal(['appended 2'])
  })
})
