import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { useConnection, useDatabase } from '../support/useNode.ts'

interface Plan {
  readonly Plans?: readonly Plan[]
  readonly [property: string]: unknown
}

/** A reader of the tenant `mine` guesses at rows of the tenant `theirs`, by what Postgres says about its own work. */
describe('an auditor who guesses at rows of other tenants', function () {
  this.timeout(60_000)
  const auditor = `starcite_test_${randomUUID().replaceAll('-', '')}`
  const database = useDatabase()
  const db = useConnection(database)

  before(async () => {
    await db.query(`select starcite.ensure_segment(clock_timestamp())`)
    for (const tenant of ['mine', 'theirs'])
      for (let i = 1; i <= 5; i += 1)
        await db.query(`select starcite.create_session($1, $2, null, '{}', null)`, [
          tenant,
          `ses_${tenant}_${i}`,
        ])
    // Many rows, so that the planner uses every index that it may.
    await db.query(`
      insert into starcite.events (sid, seq, inserted_at, type, actor, source, producer_id, producer_seq, idempotency_key,
                                   payload, metadata, refs, salt, content_digest, hash, chain_version)
      select s.sid, n, g.from_at + n * interval '1 second', 'type_' || s.tenant_id, 'actor_' || s.tenant_id,
             'source_' || s.tenant_id, 'producer_' || s.tenant_id, n, 'key_' || s.tenant_id || '_' || n,
             '{}', '{}', '{}', '\\x00', sha256(('c' || s.sid || n)::bytea), sha256(('h' || s.sid || n)::bytea), 2
        from starcite.sessions s,
             (select min(g.from_at) as from_at from starcite.segments g where g.state = 'hot') g,
             generate_series(1, 2000) n`)
    await db.query(
      `insert into starcite.producers (sid, producer_id, producer_seq, seq, digest)
       select s.sid, 'producer_' || s.tenant_id, 1, 1, sha256('x') from starcite.sessions s`,
    )
    await db.query(
      `update starcite.session_heads h set last_seq = 2000, last_event_at = now(), chain_hash = sha256('x')`,
    )
    const { rows } = await db.query<{ name: string }>(
      `select c.oid::regclass::text as name from pg_class c
        where c.relnamespace = 'starcite'::regnamespace and c.relkind = 'r'`,
    )
    for (const { name } of rows) await db.query(`vacuum (analyze) ${name}`)
    await db.query('set max_parallel_workers_per_gather = 0') // whose work is counted elsewhere
    await db.query(`create role ${auditor} in role starcite_auditor`)
    await db.query(`insert into starcite.tenant_grants values ('${auditor}', 'mine')`)
  })
  after(async () => {
    await db.query('delete from starcite.tenant_grants')
    await db.query(`drop role ${auditor}`)
  })

  /** All that `explain` counts, estimates included, a node a line, and the rows that the statistics views count as read. */
  async function seen(sql: string, analyze: boolean): Promise<readonly string[]> {
    const counted =
      /^(Actual Rows|Actual Loops|Rows Removed by .*|Heap Fetches|.*Heap Blocks|Plan Rows|Index Searches)$/
    const lines = (plan: Plan): string[] => [
      `${plan['Node Type']} ${JSON.stringify(Object.entries(plan).filter(([name]) => counted.test(name)))}`,
      ...(plan.Plans ?? []).flatMap(lines),
    ]
    const reads = async () =>
      (
        await db.query<{ name: string; read: string }>(
          `select t.relname as name, t.seq_tup_read + t.idx_tup_fetch as read
             from pg_stat_xact_user_tables t where t.schemaname = 'starcite' order by t.relname`,
        )
      ).rows
    await db.query('begin')
    try {
      await db.query(`set local role ${auditor}`)
      const before = await reads()
      const { rows } = await db.query(`explain (${analyze ? 'analyze, ' : ''}format json) ${sql}`)
      const after = await reads()
      return [
        ...lines(JSON.parse(rows[0]['QUERY PLAN'])[0].Plan),
        ...after.map(({ name, read }, k) => `${name} ${Number(read) - Number(before[k]?.read)}`),
      ]
    } finally {
      await db.query('rollback')
    }
  }

  const METHODS = [undefined, 'enable_seqscan', 'enable_hashjoin', 'enable_nestloop', 'enable_bitmapscan']
  /** A guess that is right for `theirs`, and one of the same shape that is right for no tenant. */
  const GUESSES: [string, string, string][] = [
    ['events', `e.idempotency_key = 'key_theirs_7'`, `e.idempotency_key = 'key_nobody_7'`],
    ['events', `e.actor = 'actor_theirs'`, `e.actor = 'actor_nobody'`],
    ['events', `e.type = 'type_theirs'`, `e.type = 'type_nobody'`],
    ['events', `e.source = 'source_theirs'`, `e.source = 'source_nobody'`],
    ['events', `e.producer_id = 'producer_theirs'`, `e.producer_id = 'producer_nobody'`],
    ['events', `e.session = 'ses_theirs_1'`, `e.session = 'ses_nobody_1'`],
    [
      'events',
      `e.tenant = 'theirs' and e.session = 'ses_theirs_1'`,
      `e.tenant = 'theirs' and e.session = 'ses_nobody_1'`,
    ],
    [
      'events',
      `e.actor >= 'actor_t' and e.actor < 'actor_u'`,
      `e.actor >= 'actor_v' and e.actor < 'actor_w'`,
    ],
    [
      'events',
      `e.tenant = 'mine' and e.actor = 'actor_theirs' and e.time > now() - interval '1 year'`,
      `e.tenant = 'mine' and e.actor = 'actor_nobody' and e.time > now() - interval '1 year'`,
    ],
    ['events', `e.hash = (select h from h)`, `e.hash = sha256('nothing')`],
    ['sessions', `e.session = 'ses_theirs_1'`, `e.session = 'ses_nobody_1'`],
    [
      'sessions',
      `e.tenant = 'theirs' and e.session = 'ses_theirs_1'`,
      `e.tenant = 'theirs' and e.session = 'ses_nobody_1'`,
    ],
    ['changes', `e.session = 'ses_theirs_1'`, `e.session = 'ses_nobody_1'`],
    [
      'changes',
      `e.tenant = 'theirs' and e.session = 'ses_theirs_1'`,
      `e.tenant = 'theirs' and e.session = 'ses_nobody_1'`,
    ],
    ['producers', `e.session = 'ses_theirs_1'`, `e.session = 'ses_nobody_1'`],
    ['producers', `e.producer_id = 'producer_theirs'`, `e.producer_id = 'producer_nobody'`],
    ['slices', `e.session = 'ses_theirs_1'`, `e.session = 'ses_nobody_1'`],
    ['events_loaded', `e.actor = 'actor_theirs'`, `e.actor = 'actor_nobody'`],
    ['events_loaded', `e.session = 'ses_theirs_1'`, `e.session = 'ses_nobody_1'`],
  ]
  for (const [view, right, wrong] of GUESSES)
    it(`learns nothing from audit.${view} where ${right}, whichever way Postgres looks`, async () => {
      const { rows } = await db.query(
        `select '''\\x' || encode(e.hash, 'hex') || '''::bytea' as hash
           from starcite.events e join starcite.sessions s on s.sid = e.sid where s.tenant_id = 'theirs' limit 1`,
      )
      const ask = (guess: string) =>
        `select * from audit.${view} e where ${guess.replace('(select h from h)', rows[0].hash)}`

      for (const method of METHODS) {
        if (method !== undefined) await db.query(`set ${method} = off`)
        for (const analyze of [true, false])
          expect(await seen(ask(right), analyze), method).to.deep.equal(await seen(ask(wrong), analyze))
        if (method !== undefined) await db.query(`reset ${method}`)
      }
    })
})
