import { expect } from 'chai'
import { chainStep, contentDigest, eventLink, genesisHash, lengthPrefixed } from '../../src/archive/chain.ts'
import { withoutHashing } from '../bench/rows/audit.ts'
import { appendEvents, type EventItem } from '../support/appendEvents.ts'
import { VECTORS } from '../support/archiveVectors.ts'
import { useConnection, useDatabase } from '../support/useNode.ts'

const TENANT = 'ténant 1:é'
const SESSION = 'sés:1-'
const EVENTS: readonly EventItem[] = [
  { session: SESSION },
  {
    session: SESSION,
    type: 'tÿpe',
    payload: '{ "n": 12345678901234567890.10,\n "😀": "\\ud83d" }',
    actor: '-',
  },
  { session: SESSION, actor: 'user:é', subject: 'service:1:x' },
  { session: SESSION, source: '3:abc', producer: ['p:1', 1], key: 'ключ', metadata: '{"a":[1.0,1]}' },
  {
    session: SESSION,
    source: '',
    producer: ['p:1', 2],
    refs: '{"to_seq":1}',
    payload: '{"text":"\u2028 \\u0061"}',
  },
]

describe('src/archive/chain.ts', () => {
  const database = useDatabase()
  const db = useConnection(database)

  before(async () => {
    await db.query('select starcite.create_session($1, $2)', [TENANT, SESSION])
  })

  it('length-prefixes values as Postgres does', async () => {
    const values = ['', '-', 'é', '😀', '1:1', null, '7']
    const { rows } = await db.query<{ framed: string }>(
      'select starcite.framed(u.v) as framed from unnest($1::text[]) with ordinality u (v, n) order by u.n',
      [values],
    )

    expect(values.map(lengthPrefixed)).to.deep.equal(rows.map((row) => row.framed))
    expect(lengthPrefixed(7)).to.equal(lengthPrefixed('7'))
  })

  it('arrives at the digests and hashes that the append procedure stored', async () => {
    const items = EVENTS.map((event) => ({ ...event, tenant: TENANT }))
    const outcomes = await appendEvents(db, items)
    const { rows } = await db.query(
      `select e.*, e.seq::int, e.producer_seq::int, e.payload::text, e.metadata::text, e.refs::text,
              starcite.wire_time(e.inserted_at) as at, h.chain_hash
         from starcite.events e join starcite.session_heads h on h.sid = e.sid order by e.seq`,
    )

    let hash = genesisHash(TENANT, SESSION)
    const reckoned = rows.map((row) => {
      const digest = contentDigest(row.salt, row.payload, row.metadata, row.refs)
      hash = chainStep(
        2,
        hash,
        eventLink({
          chainVersion: 2,
          seq: row.seq,
          insertedAt: row.at,
          type: row.type,
          actor: row.actor,
          source: row.source,
          producerId: row.producer_id,
          producerSeq: row.producer_seq,
          idempotencyKey: row.idempotency_key,
          subject: row.subject,
          contentDigest: digest,
        }),
      )
      return { digest, hash }
    })

    expect(outcomes.map((outcome) => outcome.outcome)).to.deep.equal(EVENTS.map(() => 'appended'))
    expect(reckoned).to.deep.equal(rows.map((row) => ({ digest: row.content_digest, hash: row.hash })))
    expect(hash).to.deep.equal(rows.at(-1).chain_hash)
  })

  it('has the digests, links and hashes of docs/archive-vectors.json in both forms', async () => {
    const { rows: prefixed } = await db.query(
      'select starcite.framed(u.v) as text from unnest($1::text[]) with ordinality u (v, n) order by u.n',
      [VECTORS.length_prefixed.map((vector) => vector.value)],
    )
    expect(prefixed).to.deep.equal(VECTORS.length_prefixed.map(({ text }) => ({ text })))
    for (const { tenant_id, session_id, genesis_hash, events } of VECTORS.sessions) {
      const { rows } = await db.query(
        `select v.seq, encode(g.genesis, 'hex') as genesis_hash,
                encode(starcite.content_digest(decode(v.salt, 'hex'), v.payload::json, v.metadata::json, v.refs::json), 'hex')
                  as content_digest,
                encode(l.link, 'hex') as link,
                encode(starcite.chain(g.genesis, v.chain_version, l.link) over (order by v.seq), 'hex') as hash
           from json_to_recordset($3) as v (seq int, inserted_at timestamptz, type text, actor text, subject text, source text,
                  producer_id text, producer_seq bigint, idempotency_key text, payload text, metadata text, refs text,
                  chain_version int, salt text, content_digest text)
          cross join lateral (select starcite.genesis_hash($1, $2) as genesis) g
          cross join lateral (select starcite.chain_link(v.chain_version, v.seq, v.inserted_at, v.type, v.actor, v.source,
                  v.producer_id, v.producer_seq, v.idempotency_key, v.subject, decode(v.content_digest, 'hex')) as link) l
          order by v.seq`,
        [tenant_id, session_id, JSON.stringify(events)],
      )

      expect(rows).to.deep.equal(
        events.map(({ seq, content_digest, link, hash }) => ({
          ...{ seq, genesis_hash, content_digest, link, hash },
        })),
      )
    }
  })

  it('is all that the benchmark takes out to measure its price', async () => {
    const { rows } = await db.query(
      `select pg_get_functiondef(p.oid) as definition from pg_proc p
        where p.pronamespace = 'starcite'::regnamespace and p.proname = 'append_events'
        order by p.pronargs desc limit 1`,
    )
    await db.query('begin')
    await db.query(withoutHashing(rows[0].definition))
    const event = { tenant: TENANT, session: SESSION }
    const outcomes = [
      ...(await appendEvents(db, [event])),
      ...(await appendEvents(db, [event, { ...event, producer: ['unhashed', 1] }])),
    ]
    const hashes = await db.query(
      `select distinct e.hash, e.content_digest from starcite.events e where e.seq > $1`,
      [EVENTS.length],
    )
    await db.query('rollback')

    expect(outcomes.map((outcome) => outcome.outcome)).to.deep.equal(['appended', 'appended', 'appended'])
    expect(hashes.rows).to.deep.equal([{ hash: Buffer.alloc(32), content_digest: Buffer.alloc(32) }])
  })
})
