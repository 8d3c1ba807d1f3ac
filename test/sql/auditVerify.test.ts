import { expect } from 'chai'
import fc from 'fast-check'
import { appendEvents } from '../support/appendEvents.ts'
import { someEvents } from '../support/tiering.ts'
import { useConnection, useDatabase } from '../support/useNode.ts'

const EVENTS = 12

interface Verdict {
  readonly ok: boolean
  readonly events: number
  readonly wrong_seq: number | null
  readonly reason: string | null
}

describe('audit.verify', () => {
  const database = useDatabase()
  const db = useConnection(database)
  let sid: string

  before(async () => {
    const { rows } = await db.query(`select starcite.create_session('acme', 's') as sid`)
    sid = rows[0].sid
    await db.query(`select starcite.create_session('acme', 'neighbour')`)
    await appendEvents(
      db,
      someEvents(
        [
          { tenant: 'acme', session: 's' },
          { tenant: 'acme', session: 'neighbour' },
        ],
        EVENTS,
      ),
    )
    await db.query(
      `create view public.e as select e.* from starcite.events e where e.sid = ${sid}`, // to be brief below
    )
    await db.query(`create view public.h as select h.* from starcite.session_heads h where h.sid = ${sid}`)
  })

  async function verify(session = 's'): Promise<Verdict> {
    const { rows } = await db.query(
      `select v.ok, v.events::int, v.wrong_seq::int, v.reason from audit.verify('acme', $1) v`,
      [session],
    )
    return rows[0]
  }

  /** The findings after these statements of the owner, which are rolled back afterwards. */
  async function found(statements: string): Promise<string> {
    await db.query('begin')
    try {
      await db.query(statements)
      const { ok, events, wrong_seq, reason } = await verify()
      expect(await verify('neighbour'), 'the session beside it').to.include({ ok: true, events: EVENTS })
      if (ok) return 'ok'
      expect(events, 'events before the wrong one').to.equal(wrong_seq! - 1)
      return `${reason} ${wrong_seq}`
    } finally {
      await db.query('rollback')
    }
  }

  it('answers ok, and what it has looked at', async () => {
    const { rows } = await db.query(
      `select v.*, v.chain_hash = h.chain_hash as ends_at_head from audit.verify('acme', 's') v, public.h`,
    )
    const { chain_hash, ...rest } = rows[0]
    expect(chain_hash).to.have.length(32)
    expect(rest).to.deep.equal({
      ok: true,
      events: String(EVENTS),
      wrong_seq: null,
      reason: null,
      from_seq: '1',
      to_seq: String(EVENTS),
      anchored: true,
      cold_events: '0',
      ends_at_head: true,
    })
  })

  const TAMPERING: [string, string, string][] = [
    ['a payload was changed', `update e set payload = '{"text":"other"}' where seq = 5`, 'changed 5'],
    ['white space in a payload was changed', `update e set payload = '{ }' where seq = 1`, 'changed 1'],
    ['metadata was changed', `update e set metadata = '{"a":1}' where seq = 12`, 'changed 12'],
    ['refs were changed', `update e set refs = '{"a":1}' where seq = 8`, 'changed 8'],
    ['a payload was taken away', 'update e set payload = null where seq = 5', 'changed 5'],
    ['a salt was changed', `update e set salt = sha256(salt) where seq = 5`, 'changed 5'],
    ['a digest was changed', `update e set content_digest = sha256(salt) where seq = 5`, 'changed 5'],
    [
      'a payload was changed, and its digest with it',
      `update e set payload = '{}', content_digest = starcite.content_digest(salt, '{}', metadata, refs) where seq = 5`,
      'broken 5',
    ],
    [
      'a payload, its digest and its hash were changed',
      `update e set payload = '{}', content_digest = starcite.content_digest(salt, '{}', metadata, refs),
                    hash = starcite.chained_hash(2, (select p.hash from e p where p.seq = 4),
                             starcite.chain_link(2, seq, inserted_at, type, actor, source, producer_id, producer_seq,
                               idempotency_key, subject, starcite.content_digest(salt, '{}', metadata, refs))) where seq = 5`,
      'broken 6',
    ],
    ['a type was changed', `update e set type = 'other' where seq = 5`, 'broken 5'],
    ['an actor was changed', `update e set actor = 'user:other' where seq = 5`, 'broken 5'],
    ['a source was added', `update e set source = 'web' where seq = 5`, 'broken 5'],
    ['a key was taken away', 'update e set idempotency_key = null where seq = 8', 'broken 8'],
    ['a producer was changed', `update e set producer_id = 'q' where seq = 5`, 'broken 5'],
    [
      'a time was changed',
      `update e set inserted_at = inserted_at + interval '1 us' where seq = 5`,
      'broken 5',
    ],
    ['a subject was added', `update e set subject = 'service:x' where seq = 5`, 'broken 5'],
    ['an event was said to be of form 1', 'update e set chain_version = 1 where seq = 5', 'broken 5'],
    [
      'an event was chained again in form 1, and the rest after it',
      `update e set chain_version = 1, hash = starcite.chained_hash(1, (select p.hash from e p where p.seq = 11),
                      starcite.chain_link(1, seq, inserted_at, type, actor, source, producer_id, producer_seq,
                                          idempotency_key, subject, content_digest)) where seq = 12;
       update h set chain_hash = (select p.hash from e p where p.seq = 12)`,
      'broken 12',
    ],
    [
      'an event was said to be of a form that is unknown',
      'update e set chain_version = 3 where seq = 5',
      'broken 5',
    ],
    ['a hash was changed', 'update e set hash = sha256(hash) where seq = 5', 'broken 5'],
    ['the first event was removed', 'delete from e where seq = 1', 'missing 1'],
    ['an event was removed', 'delete from e where seq = 5', 'missing 5'],
    ['the last event was removed', 'delete from e where seq = 12', 'missing 12'],
    ['all events were removed', 'delete from e', 'missing 1'],
    [
      'an event was removed, and the rest renumbered',
      `delete from e where seq = 5; update e set seq = seq + 1000 where seq > 5; update e set seq = seq - 1001 where seq > 1000;
       update h set last_seq = 11`,
      'broken 5',
    ],
    [
      'two events were swapped',
      `update e set seq = 1000 where seq = 5; update e set seq = 5 where seq = 6; update e set seq = 6 where seq = 1000`,
      'broken 5',
    ],
    [
      'the contents of two events were swapped, with digests and salts',
      `update e set payload = o.payload, metadata = o.metadata, refs = o.refs, salt = o.salt, content_digest = o.content_digest
         from (select x.* from e x) o where e.seq in (5, 6) and o.seq = 11 - e.seq`,
      'broken 5',
    ],
    [
      'an event was inserted, and the rest renumbered',
      `update e set seq = seq + 1000 where seq > 5; update e set seq = seq - 999 where seq > 1000;
       insert into starcite.events select sid, 6, inserted_at, null, type, actor, source, null, idempotency_key, payload,
         metadata, refs, salt, content_digest, hash, subject, chain_version from e where seq = 5;
       update h set last_seq = 13`,
      'broken 6',
    ],
    [
      'an event was added at the end',
      `insert into starcite.events select sid, 13, inserted_at, null, type, actor, source, null, idempotency_key, payload,
         metadata, refs, salt, content_digest, hash, subject, chain_version from e where seq = 12`,
      'broken 13',
    ],
    [
      'an event was added at the end, with the hash that it must have',
      `insert into starcite.events
       select sid, 13, inserted_at, null, type, actor, source, null, idempotency_key, payload, metadata, refs, salt, content_digest,
              starcite.chained_hash(2, hash, starcite.chain_link(2, 13, inserted_at, type, actor, source, null, null,
                                                                 idempotency_key, subject, content_digest)), subject, 2
         from e where seq = 12`,
      'head 13',
    ],
    [
      'an event is there twice',
      `select starcite.ensure_segment(now() - interval '10 days');
       insert into starcite.events select sid, seq, now() - interval '10 days', null, type, actor, source, null,
         idempotency_key, payload, metadata, refs, salt, content_digest, hash, subject, chain_version from e where seq = 5`,
      'duplicate 5',
    ],
    ['the head has another hash', 'update h set chain_hash = sha256(chain_hash)', 'head 12'],
    ['the head was set back', 'update h set last_seq = 11', 'head 12'],
    ['the head was set back to nothing', 'update h set last_seq = 0', 'head 1'],
    ['the head was set forward', 'update h set last_seq = 13', 'missing 13'],
    ['the head was removed', 'delete from h', 'head 12'],
    [
      'content was taken out without an erasure',
      'update e set payload = null, metadata = null, refs = null, salt = null where seq = 5',
      'changed 5',
    ],
    [
      'the record of an erasure was removed',
      `select starcite.redact_event('acme', 's', 5); delete from starcite.erasures`,
      'changed 5',
    ],
    [
      'something else was written where content was erased',
      `select starcite.redact_event('acme', 's', 5); update e set payload = '{}' where seq = 5`,
      'changed 5',
    ],
    ['an event was redacted', `select starcite.redact_event('acme', 's', 5)`, 'ok'],
    [
      'the session was erased, and nothing is removed yet',
      `select starcite.erase_session('acme', 's')`,
      'ok',
    ],
    [
      'the session was erased, and half of it is removed',
      `select starcite.erase_session('acme', 's');
       update e set payload = null, metadata = null, refs = null, salt = null where seq < 7`,
      'ok',
    ],
  ]
  for (const [what, statements, finding] of TAMPERING)
    it(`finds: ${finding}, when ${what}`, async () => {
      expect(await found(statements.replace(/\b(from|update|join) (e|h)\b/g, '$1 public.$2'))).to.equal(
        finding,
      )
    })

  it('finds any one bit, character or number that was changed, and where', async () => {
    const { rows } = await db.query('select row_to_json(e) as event from public.e order by e.seq')
    const events = rows.map(({ event }) => JSON.parse(event) as Record<string, unknown>)
    const change = fc.record({
      seq: fc.integer({ min: 1, max: EVENTS }),
      column: fc.constantFrom(
        ...['salt', 'content_digest', 'hash', 'type', 'actor', 'source', 'producer_id', 'idempotency_key'],
        ...['payload', 'metadata', 'refs', 'inserted_at', 'producer_seq'],
      ),
      place: fc.nat(),
    })
    await fc.assert(
      fc.asyncProperty(change, async ({ seq, column, place }) => {
        fc.pre(events[seq - 1]![column] !== null)
        const is = `public.e.${column}`
        const becomes = ['salt', 'content_digest', 'hash'].includes(column)
          ? `set_bit(${is}, (${place} % (8 * length(${is})))::int, 1 - get_bit(${is}, (${place} % (8 * length(${is})))::int))`
          : column === 'inserted_at'
            ? `${is} + (${place} % 1000 + 1) * interval '1 us'`
            : column === 'producer_seq'
              ? `${is} + ${(place % 1000) + EVENTS}` // which no other event has
              : ['payload', 'metadata', 'refs'].includes(column)
                ? `overlay(${is}::text placing ' ' from 2 for 0)::json`
                : `overlay(${is} placing '!' from (${place} % length(${is})) + 1 for 1)`
        const expected = ['salt', 'content_digest', 'payload', 'metadata', 'refs'].includes(column)
          ? `changed ${seq}`
          : `broken ${seq}`
        expect(await found(`update public.e set ${column} = ${becomes} where seq = ${seq}`)).to.equal(
          expected,
        )
      }),
      { numRuns: 150 },
    )
  })

  it('says of a session without events that it is in order, and finds a head that was rewritten there', async () => {
    await db.query(`select starcite.create_session('acme', 'empty')`)

    expect(await verify('empty')).to.deep.equal({ ok: true, events: 0, wrong_seq: null, reason: null })
    await db.query(
      `update starcite.session_heads h set chain_hash = sha256('') where h.sid = (select s.sid from starcite.sessions s where s.id = 'empty')`,
    )
    expect(await verify('empty')).to.include({ ok: false, wrong_seq: 0, reason: 'head' })
  })

  it('comes to a session whose head was removed, when all sessions are verified', async () => {
    await db.query(`select starcite.create_session('beheaded', 's')`)
    await db.query(
      `delete from starcite.session_heads h using starcite.sessions s where s.sid = h.sid and s.tenant_id = 'beheaded'`,
    )

    const { rows } = await db.query(
      `select s.session, v.reason from audit.sessions s cross join lateral audit.verify(s.tenant, s.session) v
        where s.tenant = 'beheaded' and not v.ok`,
    )
    expect(rows).to.deep.equal([{ session: 's', reason: 'head' }])
  })
})
