import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { useConnection, useDatabase } from '../support/useNode.ts'

const EVENTS = 1_000_000
const SESSIONS = 2000
const SEGMENTS = 4

interface Node {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Actual Rows': number
  readonly 'Actual Loops': number
  readonly 'Rows Removed by Filter'?: number
  readonly 'Rows Removed by Index Recheck'?: number
  readonly Plans?: readonly Node[]
}

describe('what auditors ask of a million events', function () {
  this.timeout(120_000)
  const name = () => `starcite_test_${randomUUID().replaceAll('-', '')}`
  /** Of two tenants. */
  const auditor = name()
  /** Of all tenants. */
  const overseer = name()
  const database = useDatabase()
  const db = useConnection(database)

  before(async () => {
    // Of a hundred sessions one is of `small`, nineteen of `acme`, the rest of others.
    await db.query('alter table starcite.sessions disable trigger sessions_record_change')
    await db.query(
      `insert into starcite.sessions (tenant_id, id)
       select case when n % 100 = 0 then 'small' when n % 5 = 0 then 'acme' else 'big' end, 'ses_' || n
         from generate_series(1, $1::int) n`,
      [SESSIONS],
    )
    await db.query(
      `insert into starcite.session_heads (sid, chain_hash, last_seq) select s.sid, sha256('x'), $1 from starcite.sessions s`,
      [EVENTS / SESSIONS],
    )
    await db.query(
      `insert into starcite.session_changes (sid, tenant_id, kind, at, version)
       select 1 + n % $1, s.tenant_id, 'updated', timestamptz '2026-01-01' + n * interval '1 minute', 1
         from generate_series(1, 100000) n join starcite.sessions s on s.sid = 1 + n % $1`,
      [SESSIONS],
    )
    for (let i = 0; i < SEGMENTS; i += 1)
      await db.query(
        `select starcite.ensure_segment(timestamptz '2026-11-23 00:00Z' + $1 * interval '6 hours')`,
        [i],
      )
    // All sessions grow alike. 20,011 actors; types that are common, less common, and rare.
    await db.query(
      `insert into starcite.events (sid, seq, inserted_at, type, actor, payload, metadata, refs, salt, content_digest, hash,
                                    chain_version)
       select 1 + n % $1, 1 + n / $1, timestamptz '2026-11-23 00:00Z' + n * interval '86.4 milliseconds',
              case when n % 20011 = 0 then 'admin.override' when n % 7 = 0 then 'tool' else 'content' end,
              'user:' || n * 7919 % 20011, p.payload, '{}', '{}', substr(p.digest, 1, 16), p.digest, p.digest, 2
         from generate_series(0::bigint, $2::bigint - 1) n,
              (select json_build_object('text', repeat('some words ', 12)) as payload, sha256('x') as digest) p`,
      [SESSIONS, EVENTS],
    )
    await db.query('vacuum (analyze) starcite.events')
    await db.query('vacuum (analyze) starcite.sessions, starcite.session_heads, starcite.session_changes')
    for (const role of [auditor, overseer]) await db.query(`create role ${role} in role starcite_auditor`)
    await db.query(
      `insert into starcite.tenant_grants values ('${auditor}', 'acme'), ('${auditor}', 'small'), ('${overseer}', null)`,
    )
  })
  after(async () => {
    await db.query(`delete from starcite.tenant_grants`)
    for (const role of [auditor, overseer]) await db.query(`drop role ${role}`)
  })

  const flat = (node: Node): Node[] => [node, ...(node.Plans ?? []).flatMap(flat)]

  /** What the query came to and touched when an auditor asked it. */
  async function asked(sql: string, role = auditor) {
    await db.query(`set role ${role}`)
    try {
      const { rows } = await db.query(`explain (analyze, format json) ${sql}`)
      const plan = flat(JSON.parse(rows[0]['QUERY PLAN'])[0].Plan)
      const scans = plan.filter(
        (node) => node['Actual Loops'] > 0 && node['Relation Name']?.match(/^(events_|sessions$|session_)/),
      )
      return {
        found: plan[0]!['Actual Rows'],
        /** Rows that were looked at, of use or not. */
        touched: scans.reduce(
          (sum, scan) =>
            sum +
            scan['Actual Loops'] *
              (scan['Actual Rows'] +
                (scan['Rows Removed by Filter'] ?? 0) +
                (scan['Rows Removed by Index Recheck'] ?? 0)),
          0,
        ),
        segments: new Set(scans.flatMap((scan) => scan['Relation Name']!.match(/^events_.*/) ?? [])).size,
        /** Sessions are few here: reading them, or their heads, all may well be the best. */
        how: new Set(
          scans
            .filter((scan) => !/^session(s|_heads)$/.test(scan['Relation Name'] as string))
            .map((scan) => scan['Node Type']),
        ),
      }
    } finally {
      await db.query('reset role')
    }
  }

  /**
   * Bounds on `touched` are several times what was seen: a scan of one segment would be 250,000. By actor and type only the
   * reader of all tenants finds events: `ofSome` is what a reader of some tenants looks at, the stretch of time.
   */
  const OF_ACME = `select * from audit.events e where e.tenant = 'acme'`
  const QUESTIONS: [string, string, { found: number; touched: number; ofSome?: number; segments: number }][] =
    [
      [
        'a stretch of a session',
        `${OF_ACME} and e.session = 'ses_5' and e.seq between 100 and 120 order by e.seq`,
        { found: 21, touched: 50, segments: 4 },
      ],
      ['a session', `${OF_ACME} and e.session = 'ses_5'`, { found: 500, touched: 510, segments: 4 }],
      [
        'a few sessions that another question names',
        `${OF_ACME} and e.session = any (array(select s.session from audit.sessions s where s.tenant = 'acme' and s.session like 'ses_5_0'))
        and e.seq = 250`,
        { found: 9, touched: 6000, segments: 4 },
      ],
      [
        'what an actor did in a day',
        `${OF_ACME} and e.actor = 'user:4711' and e.time >= '2026-11-23 00:00Z' and e.time < '2026-11-24 00:00Z'`,
        { found: 9, touched: 100_000, ofSome: EVENTS + 5000, segments: 4 },
      ],
      [
        'what an actor did in two hours',
        `${OF_ACME} and e.actor = 'user:4711' and e.time >= '2026-11-23 07:00Z' and e.time < '2026-11-23 09:00Z'`,
        { found: 1, touched: 15_000, ofSome: EVENTS / 11, segments: 1 },
      ],
      [
        'events of a rare type in a day',
        `${OF_ACME} and e.type = 'admin.override' and e.time >= '2026-11-23 00:00Z' and e.time < '2026-11-24 00:00Z'`,
        { found: 9, touched: 80_000, ofSome: EVENTS + 5000, segments: 4 },
      ],
      [
        'events of a type in an hour',
        `${OF_ACME} and e.type = 'tool' and e.time >= '2026-11-23 07:00Z' and e.time < '2026-11-23 08:00Z'`,
        { found: 1132, touched: 50_000, segments: 1 },
      ],
      [
        'all of a tenant in ten minutes',
        `${OF_ACME} and e.time >= '2026-11-23 13:00Z' and e.time < '2026-11-23 13:10Z'`,
        { found: 1319, touched: 9000, segments: 1 },
      ],
      [
        'who changed what in an hour',
        `select * from audit.changes c where c.tenant = 'acme' and c.time >= '2026-02-01 00:00Z' and c.time < '2026-02-01 01:00Z'`,
        { found: 11, touched: 3000, segments: 0 },
      ],
      [
        'what was done to a session',
        `select * from audit.changes c where c.tenant = 'acme' and c.session = 'ses_5'`,
        { found: 50, touched: 60, segments: 0 },
      ],
    ]
  for (const [what, sql, { found, touched, ofSome, segments }] of QUESTIONS) {
    it(`finds ${what} for a reader of all tenants without looking through the rest`, async () => {
      const answer = await asked(sql, overseer)

      expect(answer.how).not.to.include('Seq Scan')
      expect(answer.touched).to.be.at.most(touched)
      expect(answer.segments).to.equal(segments)
      expect(answer.found).to.equal(found)
    })

    it(`finds ${what} for a reader of some tenants without looking through the rest`, async () => {
      const answer = await asked(sql)

      if (ofSome === undefined) expect(answer.how).not.to.include('Seq Scan')
      expect(answer.touched).to.be.at.most(ofSome ?? touched)
      expect(answer.segments).to.equal(segments)
      expect(answer.found).to.equal(found)
    })
  }

  it('does not convert payloads to jsonb for queries that do not use it', async () => {
    await db.query(`set role ${auditor}`)
    const { rows } = await db.query(
      `explain (verbose, costs off) select e.seq, e.type from audit.events e where e.tenant = 'acme' and e.session = 'ses_5'`,
    )
    await db.query('reset role')

    expect(rows.map((row) => row['QUERY PLAN']).join('\n')).not.to.include('as_jsonb')
  })

  it('counts sessions without looking for their cold events', async () => {
    const answer = await asked(`select count(*) from audit.sessions s where s.tenant = 'acme'`)

    expect(answer.found).to.equal(1)
    const { rows } = await db.query(`explain select count(*) from audit.sessions s where s.tenant = 'acme'`)
    expect(rows.map((row) => row['QUERY PLAN']).join('\n')).not.to.include('slices')
  })
})
