import { expect } from 'chai'
import type { Db, Query } from '../../src/db/pool.ts'
import { readEntries } from '../../src/lifecycle/queries.ts'
import { readHotAfterMany } from '../../src/live/queries.ts'
import { findSession, listSessions, type SessionList } from '../../src/sessions/queries.ts'
import { readHotAfter, readHotHistory } from '../../src/tail/hotQueries.ts'
import { appendEvents } from '../support/appendEvents.ts'
import { connect } from '../support/template.ts'
import { until } from '../support/until.ts'
import { useConnection, useDatabase } from '../support/useNode.ts'

const SESSIONS = 120_000
const EVENTS_PER_SEGMENT = 30_000
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

describe('plans over large tables', () => {
  const database = useDatabase()
  const db = useConnection(database)

  before(async function () {
    this.timeout(120_000)
    // Placed by hand below, without the trigger: faster, and what is asked of them is how they are read.
    await db.query('alter table starcite.sessions disable trigger sessions_record_change')
    // In the tenant `big` all but 100 sessions are archived; each has a user of its own and one of two kinds.
    await db.query(
      `insert into starcite.sessions (tenant_id, id, archived, metadata)
       select case when n % 6 = 0 then 'small' else 'big' end, 'ses_' || to_char(n, 'FM000000'), n % 6 <> 0 and n % 1200 <> 1,
              json_build_object('user', 'u' || n, 'kind', case when n % 2 = 0 then 'even' else 'odd' end)
         from generate_series(1, $1::int) n`,
      [SESSIONS],
    )
    await db.query(
      `insert into starcite.session_heads (sid, chain_hash, last_seq)
       select s.sid, sha256('x'), 0 from starcite.sessions s`,
    )
    await db.query(
      `insert into starcite.session_changes (sid, tenant_id, kind, at, version, place, number)
       select s.sid, s.tenant_id, 'created', now(), 1, s.sid * 3, s.sid from starcite.sessions s`,
    )
    await db.query(
      `insert into starcite.session_progress (sid, tenant_id, place, last_seq, placed_at)
       select s.sid, s.tenant_id, s.sid * 3 + 1, 0, now() from starcite.sessions s`,
    )
    // Ten sessions have long logs, spread over all segments.
    for (let i = 0; i < SEGMENTS; i += 1)
      await db.query(`select starcite.ensure_segment(now() - $1 * interval '6 hours')`, [i])
    await db.query(
      `insert into starcite.events (sid, seq, inserted_at, producer_id, producer_seq, type, actor, payload, metadata, refs,
                                    content_digest, hash, chain_version)
       select n % 10 + 1, n / 10 + 1, now() - (3 - n / $1) * interval '6 hours', 'p', n / 10 + 1, 'type ' || n % 7, 'a',
              '{"text":"some words"}', '{}', '{}', sha256('x'), sha256('x'), 2
         from generate_series(0, $1::int * $2::int - 1) n`,
      [EVENTS_PER_SEGMENT, SEGMENTS],
    )
    await db.query(`update starcite.session_heads h set last_seq = $1 where h.sid <= 10`, [
      (EVENTS_PER_SEGMENT * SEGMENTS) / 10,
    ])
    await db.query(
      `insert into starcite.producers (sid, producer_id, producer_seq, seq, digest)
       select h.sid, 'p' || g, 1, 1, sha256('x') from starcite.session_heads h, generate_series(1, 2) g where h.sid % 6 = 0`,
    )
    await db.query(
      'vacuum (analyze) starcite.sessions, starcite.session_heads, starcite.producers, starcite.session_changes, starcite.session_progress',
    )
    await db.query('analyze starcite.events')
  })

  /**
   * The nodes of the plan that the query of a queries.ts runs with, which it also ran with. A query that has a name is
   * prepared, and after some uses Postgres may keep one plan for all values: the test takes that one.
   */
  async function planOf(ask: (db: Db) => Promise<unknown>): Promise<Node[]> {
    const plans: Node[] = []
    const explaining = {
      query: async ({ name, text }: Query, values: unknown[]) => {
        await db.query(`set plan_cache_mode = ${name ? 'force_generic_plan' : 'force_custom_plan'}`)
        await db.query(`prepare asked as ${text}`)
        const { rows } = await db.query(
          `explain (analyze, format json) execute asked (${values.map(literal).join(', ')})`,
        )
        await db.query('deallocate asked')
        plans.push(...flat(JSON.parse(rows[0]['QUERY PLAN'])[0].Plan))
        return []
      },
    }
    await ask(explaining as unknown as Db)
    await db.query('reset plan_cache_mode')
    return plans
  }
  const literal = (value: unknown) =>
    value === null ? 'null' : `'${Array.isArray(value) ? `{${value.join(',')}}` : value}'`
  const flat = (node: Node): Node[] => [node, ...(node.Plans ?? []).flatMap(flat)]
  const scans = (nodes: readonly Node[]) => nodes.filter((node) => node['Relation Name'] !== undefined)
  /** Rows of tables that were looked at, whether or not they were of use. */
  const rowsTouched = (nodes: readonly Node[]) =>
    scans(nodes).reduce(
      (sum, scan) =>
        sum +
        scan['Actual Loops'] *
          (scan['Actual Rows'] +
            (scan['Rows Removed by Filter'] ?? 0) +
            (scan['Rows Removed by Index Recheck'] ?? 0)),
      0,
    )
  const kinds = (nodes: readonly Node[]) => new Set(nodes.map((node) => node['Node Type']))

  const bounds = { events: 500, bytes: 1_000_000 }
  const READS: [string, (db: Db) => Promise<unknown>, number][] = [
    ['a page after a cursor', (db) => readHotAfter(db, '3', 20, bounds), 510],
    ['the newest events', (db) => readHotAfter(db, '3', 11_990, bounds), 14],
    [
      'pages of several sessions',
      (db) =>
        readHotAfterMany(
          db,
          ['1', '2', '3'].map((sid) => ({ sid, cursor: 6000 })),
          bounds,
        ),
      1530,
    ],
    [
      'the last page, backwards',
      (db) =>
        readHotHistory(db, '3', { above: 0, below: 1e9, order: 'desc', type: null, actor: null }, bounds),
      510,
    ],
    ['a page of a lifecycle feed', (db) => readEntries(db, 'big', 60_000, { entries: 100, bytes: 1e6 }), 310],
    [
      'the end of a lifecycle feed',
      (db) => readEntries(db, 'big', 359_990, { entries: 100, bytes: 1e6 }),
      20,
    ],
    [
      'a page of one type',
      (db) =>
        readHotHistory(
          db,
          '3',
          { above: 100, below: 2100, order: 'asc', type: 'type 3', actor: null },
          bounds,
        ),
      2010,
    ],
  ]
  for (const [what, ask, most] of READS)
    it(`reads ${what} off the index of each segment, and little else`, async () => {
      const plan = await planOf(ask)

      expect(kinds(plan)).not.to.include('Seq Scan')
      expect(rowsTouched(plan)).to.be.at.most(most)
    })

  const list = (more: Partial<SessionList>): SessionList => ({
    tenantId: 'big',
    after: undefined,
    limit: 100,
    archived: false,
    filters: [],
    ...more,
  })
  const LISTS: [string, SessionList][] = [
    ['the few that are not archived', list({})],
    ['the rest of them after a cursor', list({ after: 'ses_060000' })],
    ['archived ones', list({ archived: true, after: 'ses_060000' })],
    ['the few archived ones of a tenant', list({ tenantId: 'small', archived: true })],
    ['all, from the middle on', list({ archived: 'all', after: 'ses_060000' })],
    ['a tenant without sessions', list({ tenantId: 'none', archived: 'all' })],
    ['the one of a user', list({ archived: 'all', filters: [['{"user":"u77777"}']] })],
    [
      'the one of a user, by either type of the value',
      list({ archived: 'all', filters: [['{"user":"u77777"}', '{"user":77777}']] }),
    ],
    ['those of a user who has none', list({ archived: 'all', filters: [['{"user":"nobody"}']] })],
    [
      'those of a user and a kind',
      list({ archived: 'all', filters: [['{"kind":"odd"}'], ['{"user":"u77777"}']] }),
    ],
    ['those of a kind that half of them have', list({ archived: 'all', filters: [['{"kind":"odd"}']] })],
  ]
  for (const [what, query] of LISTS)
    it(`lists ${what} without walking over the others`, async () => {
      const plan = await planOf((db) => listSessions(db, query))

      expect(kinds(plan)).not.to.include('Seq Scan')
      expect(rowsTouched(plan)).to.be.below(1000)
    })

  it('touches no session of another tenant, however many match there', async () => {
    const ofBig = list({ tenantId: 'small', archived: 'all', filters: [['{"user":"u77777"}']] })

    const plan = await planOf((db) => listSessions(db, ofBig))

    expect(kinds(plan)).to.include('Bitmap Index Scan')
    expect(rowsTouched(plan)).to.equal(0)
  })

  it('finds a session by its name', async () => {
    expect(rowsTouched(await planOf((db) => findSession(db, 'big', 'ses_077777')))).to.equal(2)
  })

  it('appends by keys alone, however the call is mixed', async () => {
    const id = (n: number) => `ses_${String(n).padStart(6, '0')}`
    const own = await connect(database) // whose statistics begin here
    await own.query('begin')
    const outcomes = await appendEvents(own, [
      ...Array.from({ length: 100 }, (_, i) => ({ tenant: 'big', session: id(6 * i + 5) })),
      ...Array.from({ length: 100 }, (_, i) => ({
        tenant: 'small',
        session: id(6 * i + 6),
        producer: ['p1', 2] as const,
      })),
      { tenant: 'big', session: 'nowhere' },
      { tenant: 'big', session: id(1), producer: ['p', 3] },
    ])
    const { rows } = await own.query(
      `select t.relname, t.seq_scan::int from pg_stat_xact_user_tables t
        where t.relname in ('sessions', 'session_heads', 'producers') or t.relname like 'events%' order by 1`,
    )
    await own.end()

    expect(new Set(outcomes.map((outcome) => outcome.outcome))).to.deep.equal(
      new Set(['appended', 'session_not_found']),
    )
    expect(rows.filter((row) => row.seq_scan > 0)).to.deep.equal([])
    expect(rows.map((row) => row.relname)).to.include.members(['producers', 'session_heads', 'sessions'])
  })

  it('updates heads in their page: nearly all updates are HOT', async () => {
    const items = Array.from({ length: 20 }, (_, i) => ({
      tenant: 'big',
      session: `ses_${String(6 * i + 1).padStart(6, '0')}`,
      producer: ['hot', 0] as const,
    }))
    const stats = async () =>
      (
        await db.query(
          `select t.relname, t.n_tup_upd::int as updates, t.n_tup_hot_upd::int as hot from pg_stat_user_tables t
            where t.relname in ('session_heads', 'producers') order by 1`,
        )
      ).rows as { relname: string; updates: number; hot: number }[]
    /** Of each table, the share of the updates of 2,000 appends that were HOT. */
    const round = async (first: number) => {
      const [before, writer] = [await stats(), await connect(database)]
      for (let n = first; n < first + 100; n += 1)
        await appendEvents(
          writer,
          items.map((item) => ({ ...item, producer: ['hot', n] as const })),
        )
      await writer.end() // which reports what it did
      const after = await until('the statistics of 2,000 appends', async () => {
        const now = await stats()
        return now[1]!.updates - before[1]!.updates >= 2000 ? now : undefined
      })
      return after.map((stats, i) => (stats.hot - before[i]!.hot) / (stats.updates - before[i]!.updates))
    }

    // A snapshot of another session, of autovacuum's analyze for one, keeps pages from being pruned while it lasts.
    let shares: number[] = []
    for (let n = 0; n < 5 && !(Math.min(...shares) > 0.9 && shares.length > 0); n += 1)
      shares = await round(1 + 100 * n)

    expect(Math.min(...shares)).to.be.above(0.9)
  })
})
