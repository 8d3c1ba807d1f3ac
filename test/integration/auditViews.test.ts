import { expect } from 'chai'
import fc from 'fast-check'
import pg from 'pg'
import { ensureSegments } from '../../src/tiering/queries.ts'
import { connect } from '../support/template.ts'
import { someEvents, TieringLab } from '../support/tiering.ts'
import { until } from '../support/until.ts'
import { useEach } from '../support/use.ts'

describe('the audit views', () => {
  const lab = useEach(() => TieringLab.open())

  const rows = async (sql: string, values: unknown[] = []) => (await lab.db.query(sql, values)).rows
  const verify = async (session: string) =>
    (
      await rows(
        `select v.ok, v.events::int, v.wrong_seq::int, v.reason, v.from_seq::int, v.to_seq::int, v.anchored, v.cold_events::int
           from audit.verify('default', $1) v`,
        [session],
      )
    )[0]

  it('show events as they are stored, even those that do not convert to jsonb', async () => {
    await lab.session('s')
    await lab.append([
      {
        session: 's',
        type: 'note',
        actor: 'user:u',
        source: 'web',
        producer: ['p', 1],
        key: 'k',
        payload: '{ "n": 1.0 }',
        metadata: '{"m":1}',
        refs: '{"step":1}',
      },
      { session: 's', payload: '{"half":"\\ud83d"}' },
    ])
    const odd = ['{"zero":"\\u0000"}', '{"n":1e400000}', '{"n":1e-99999}', `{"n":${'9'.repeat(140_000)}}`]
    for (const [i, payload] of odd.entries())
      await rows(
        `insert into starcite.events select e.sid, 3 + $1, e.inserted_at, null, 'odd', e.actor, null, null, null, $2, '{}', '{}',
                e.salt, e.content_digest, e.hash, null, 2 from starcite.events e where e.seq = 1`,
        [i, payload],
      )

    const [first, ...others] = await rows('select * from audit.events e order by e.seq')
    const { time, content_digest, hash, salt, ...rest } = first
    expect([time, content_digest.length, hash.length, salt.length]).to.deep.equal([time, 32, 32, 16])
    expect(rest).to.deep.equal({
      tenant: 'default',
      session: 's',
      chain_version: 2,
      subject: null,
      seq: '1',
      type: 'note',
      actor: 'user:u',
      producer_id: 'p',
      producer_seq: '1',
      idempotency_key: 'k',
      source: 'web',
      payload: '{ "n": 1.0 }',
      payload_jsonb: { n: 1 },
      metadata: '{"m":1}',
      refs: '{"step":1}',
      redacted: false,
      tier: 'hot',
    })
    expect(others.map((other) => [other.payload, other.payload_jsonb])).to.deep.equal(
      ['{"half":"\\ud83d"}', ...odd].map((text) => [text, null]),
    )
    expect(await rows('select * from audit.producers')).to.deep.equal([
      { tenant: 'default', session: 's', producer_id: 'p', producer_seq: '1', seq: '1' },
    ])
  })

  it('convert to jsonb what Postgres converts, and nothing else', async function () {
    const [{ has }] = await rows(`select to_regproc('pg_catalog.pg_input_is_valid') is not null as has`)
    if (!has) this.skip() // before Postgres 16 there is nothing to compare with
    const part = fc.constantFrom(
      ...[
        '\\ud83d',
        '\\uDE00',
        '\\u0000',
        '\\u0041',
        '\\\\',
        '\\\\u0000',
        '\\"',
        '\\n',
        'a',
        '1e9',
        '2e99999',
        'd83d',
      ],
    )
    const text = fc.array(part, { maxLength: 6 }).map((parts) => `"${parts.join('')}"`)
    const number = fc.constantFrom('0', '-1.50', '1e308', '1E-300', '1e99999999', '7'.repeat(900), '1e131072')
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 3 },
        text,
        number,
        fc.array(tie('value'), { maxLength: 4 }).map((parts) => `[${parts.join(', ')}]`),
        fc
          .array(fc.tuple(text, tie('value')), { maxLength: 3 })
          .map((parts) => `{${parts.map((e) => e.join(':')).join()}}`),
      ),
    }))
    const samples = fc.sample(value as fc.Arbitrary<string>, 2000)

    const wrong = await rows(
      `select t.text from unnest($1::text[]) as t (text)
        where starcite.as_jsonb(t.text::json)::text
              is distinct from case when pg_input_is_valid(t.text, 'jsonb') then starcite.comparable(t.text::json)::text end`,
      [samples],
    )
    expect(wrong).to.deep.equal([])
  })

  it('tell what lies where, before, while and after a segment is moved', async () => {
    const sid = await lab.session('s')
    await lab.append(someEvents([{ session: 's' }], 30))
    const where = async () => ({
      events: (await rows('select count(*)::int as n, min(e.seq)::int as first from audit.events e'))[0],
      session: (
        await rows(
          'select s.last_seq::int, s.hot_events::int, s.cold_events::int, s.first_hot_seq::int from audit.sessions s',
        )
      )[0],
      slices: await rows('select p.first_seq::int, p.last_seq::int from audit.slices p'),
      segments: await rows(
        `select g.state, g.tier, g.tenant, g.events::int from audit.segments g where g.from_time < now() order by g.from_time`,
      ),
    })
    const hot = (state: string) => ({
      events: { n: 30, first: 1 },
      session: { last_seq: 30, hot_events: 30, cold_events: 0, first_hot_seq: 1 },
      slices: [],
      segments: [{ state, tier: 'hot', tenant: null, events: null }],
    })
    expect(await where()).to.deep.equal(hot('hot'))

    let meanwhile: unknown
    await lab.move({
      probe: async (step) => {
        if (step === 'copied') meanwhile = await where()
      },
    })

    expect(meanwhile, 'copies in the making do not show').to.deep.equal(hot('closed'))
    expect(await where()).to.deep.include({
      events: { n: 0, first: null },
      session: { last_seq: 30, hot_events: 0, cold_events: 30, first_hot_seq: null },
      slices: [{ first_seq: 1, last_seq: 30 }],
      segments: [{ state: 'dropped', tier: 'cold', tenant: 'default', events: 30 }],
    })
    const [slice] = await rows(
      `select p.object_key = o.key and p.object_key = g.object_key and o.sha256 = g.sha256 and o.bytes = g.bytes as same
         from audit.slices p, audit.segments g, starcite.objects o where g.tier = 'cold'`,
    )
    expect(slice).to.deep.equal({ same: true })

    await lab.append(
      someEvents([{ session: 's' }], 5).map((event) => ({ ...event, producer: undefined as never })),
    )
    expect(await where()).to.deep.include({
      events: { n: 5, first: 31 },
      session: { last_seq: 35, hot_events: 5, cold_events: 30, first_hot_seq: 31 },
    })
    const half = {
      ok: true,
      events: 5,
      wrong_seq: null,
      reason: null,
      from_seq: 31,
      to_seq: 35,
      anchored: false,
      cold_events: 30,
    }
    expect(await verify('s')).to.deep.equal(half)
    for (const [tampering, wrong_seq, reason] of [
      ['delete from starcite.events e where e.seq = 31', 31, 'missing'],
      [`update starcite.events e set type = 'x' where e.seq = 33`, 33, 'broken'],
      [`update starcite.events e set payload = '{"x":0}' where e.seq = 31`, 31, 'changed'],
      ['update starcite.events e set seq = 30 where e.seq = 35', 30, 'duplicate'],
      [`update starcite.session_heads h set last_seq = 30 where h.sid = ${sid}`, 31, 'head'],
      [`delete from starcite.slices s where s.sid = ${sid}`, 1, 'missing'],
    ] as const) {
      await rows('begin')
      await rows(tampering)
      expect(await verify('s'), tampering).to.deep.include({ ok: false, wrong_seq, reason })
      await rows('rollback')
    }
  })

  it('show each event once, and verify without a false alarm, while appends, moves and erasures go on', async () => {
    const sessions = ['a', 'b', 'c', 'gone']
    for (const id of sessions) await lab.session(id)
    const readers = await Promise.all([1, 2].map(() => connect(lab.database)))
    const counts: string[] = []
    const verdicts: unknown[] = []
    let isOver = false
    const looks = readers.map(() => 0)
    const looking = readers.map(async (reader, i) => {
      while (!isOver) {
        looks[i]! += 1
        const { rows: seen } =
          i === 0
            ? await reader.query(
                `select s.session, s.last_seq, s.cold_events + (select count(*) from audit.events e
                                                               where e.tenant = s.tenant and e.session = s.session) as found
                   from audit.sessions s`,
              )
            : await reader.query(
                `select s.session, v.* from audit.sessions s cross join lateral audit.verify(s.tenant, s.session) v`,
              )
        for (const row of seen)
          if (i === 0 && row.last_seq !== row.found)
            counts.push(`${row.session}: ${row.found} of ${row.last_seq}`)
          else if (i === 1 && row.ok === false) verdicts.push(row)
      }
    })
    try {
      for (let round = 0; round < 6; round += 1) {
        // As nodes do. A statement that was planned before a segment was made does not look into it.
        await ensureSegments(lab.pool)
        const [events, verdict] = looks as [number, number]
        await until('every reader plans again', () => looks[0]! > events + 1 && looks[1]! > verdict + 1)
        await lab.append(
          sessions
            .filter((id) => id !== 'gone' || round < 3)
            .flatMap((session) =>
              Array.from({ length: 150 }, (_, n) => ({ session, payload: `{"n":${n}}` })),
            ),
        )
        await rows(`select starcite.redact_event('default', 'a', ${round * 150 + 7})`)
        if (round === 2) await rows(`select starcite.erase_session('default', 'gone')`)
        await lab.move()
      }
    } finally {
      isOver = true
      await Promise.all(looking)
      await Promise.all(readers.map((reader) => reader.end()))
    }

    expect(counts).to.deep.equal([])
    expect(verdicts).to.deep.equal([])
    expect(await lab.count('events')).to.equal(0)
  })

  it('say in a transaction with an old snapshot that they cannot verify what was moved since', async () => {
    await lab.session('s')
    await lab.append(someEvents([{ session: 's' }], 10))
    const auditor = await connect(lab.database)
    await auditor.query('begin isolation level repeatable read')
    expect((await auditor.query('select s.hot_events::int as n from audit.sessions s')).rows).to.deep.equal([
      { n: 10 },
    ])
    // Not dropped: that waits for transactions which have used it.
    await lab.move().catch(() => {})

    const refusal = await auditor.query(`select audit.verify('default', 's')`).then(
      () => undefined,
      (error: pg.DatabaseError) => error,
    )
    await auditor.query('rollback')
    expect(refusal).to.be.instanceOf(pg.DatabaseError)
    expect(refusal?.code).to.equal('40001')
    expect(refusal?.hint).to.match(/read committed/)
    expect((await auditor.query(`select (audit.verify('default', 's')).ok`)).rows).to.deep.equal([
      { ok: null }, // all of it has moved
    ])
    await auditor.end()
  })

  it('hide the content of an erased session from the commit on, before it is removed', async () => {
    await lab.session('s')
    await lab.append([{ session: 's', payload: '{"text":"secret"}' }])
    await rows(`select starcite.erase_session('default', 's')`)

    expect(await rows('select e.payload::text from starcite.events e'), 'still there').to.deep.equal([
      { payload: '{"text":"secret"}' },
    ])
    expect(
      await rows(
        'select e.payload, e.payload_jsonb, e.metadata, e.refs, e.salt, e.redacted from audit.events e',
      ),
    ).to.deep.equal([
      { payload: null, payload_jsonb: null, metadata: null, refs: null, salt: null, redacted: true },
    ])
  })

  it('tell who did what, when, on whose request and why', async () => {
    for (const id of ['s', 'old']) await lab.session(id)
    await lab.append([{ session: 's' }, { session: 's' }, { session: 'old', payload: '{"text":"x"}' }])
    await rows(
      `begin; set local starcite.actor = 'user:lena'; set local starcite.request_id = 'req-1';
       update starcite.sessions s set title = 'T', version = s.version + 1 where s.id = 's';
       update starcite.sessions s set archived = true, version = s.version + 1 where s.id = 's'; commit`,
    )
    await rows(`select starcite.hold_session('default', 's', 'case 12', 'counsel')`)
    await rows(`select starcite.hold_session('default', 's', 'again', 'counsel')`)
    await rows(
      `begin; set local starcite.actor = 'judge'; select starcite.release_session('default', 's'); commit`,
    )
    await rows(`select starcite.redact_event('default', 's', 2, 'user:dpo', 'req-2', 'a name')`)
    await lab.move()
    await rows(
      `update starcite.segments g set from_at = g.from_at - interval '90 days', to_at = g.to_at - interval '90 days'
        where g.state = 'dropped'`,
    )
    await rows(`select starcite.set_retention(null, '30 days', null)`)
    await lab.move()
    await rows(`select starcite.erase_session('default', 'old', 'user:dpo', 'req-3', 'asked for')`)

    const changes = await rows(
      `select c.session, c.kind, c.actor, c.request_id, c.version::int, c.title, c.first_seq::int, c.last_seq::int, regexp_replace(c.reason, ' at .*', '') as reason,
              c.erasure is not null as receipt, c.completed_at is not null as done, c.segment is not null as segment
         from audit.changes c order by c.time`,
    )
    const nothing = {
      actor: null,
      request_id: null,
      version: null,
      title: null,
      first_seq: null,
      last_seq: null,
      reason: null,
      receipt: false,
      done: false,
      segment: false,
    }
    const lena = { actor: 'user:lena', request_id: 'req-1' }
    expect(changes).to.deep.equal([
      { ...nothing, session: 's', kind: 'created', version: 1 },
      { ...nothing, session: 'old', kind: 'created', version: 1 },
      { ...nothing, ...lena, session: 's', kind: 'updated', version: 2, title: 'T' },
      { ...nothing, ...lena, session: 's', kind: 'archived', version: 3 },
      { ...nothing, session: 's', kind: 'held', actor: 'counsel', reason: 'case 12' },
      { ...nothing, session: 's', kind: 'released', actor: 'judge' },
      {
        ...nothing,
        ...{
          session: 's',
          kind: 'redacted',
          actor: 'user:dpo',
          request_id: 'req-2',
          first_seq: 2,
          last_seq: 2,
        },
        ...{ reason: 'a name', receipt: true, done: true },
      },
      {
        ...nothing,
        session: null,
        kind: 'expired',
        reason: 'the segment ended',
        actor: 'retention',
        receipt: true,
        done: true,
        segment: true,
      },
      {
        ...nothing,
        ...{ session: 'old', kind: 'erased', actor: 'user:dpo', request_id: 'req-3', version: 2 },
        ...{ first_seq: 1, last_seq: 1, reason: 'asked for', receipt: true },
      },
    ])
  })

  it('tell in whose name an erasure was asked for in SQL, and keep that apart from what comes after it', async () => {
    for (const id of ['mine', 'theirs']) await lab.session(id, 'named')
    await lab.append([{ tenant: 'named', session: 'theirs' }])
    await rows(
      `begin; set local starcite.actor = 'service:billing'; set local starcite.request_id = 'job 7';
       select starcite.redact_event('named', 'theirs', 1);
       select starcite.erase_session('named', 'mine');
       select starcite.erase_session('named', 'theirs', 'user:dpo', 'req-9');
       select starcite.create_session('named', 'next'); commit`,
    )

    const changes = await rows(
      `select c.session, c.kind, c.actor, c.request_id from audit.changes c
        where c.tenant = 'named' and c.actor is not null order by c.time`,
    )
    const billing = { actor: 'service:billing', request_id: 'job 7' }
    expect(changes).to.deep.equal([
      { session: 'theirs', kind: 'redacted', ...billing },
      { session: 'mine', kind: 'erased', ...billing },
      { session: 'theirs', kind: 'erased', actor: 'user:dpo', request_id: 'req-9' },
      { session: 'next', kind: 'created', ...billing },
    ])
  })
})
