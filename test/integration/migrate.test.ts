import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import type pg from 'pg'
import type { Finding } from '../../src/cli/doctor/check.ts'
import { checkPostgres } from '../../src/cli/doctor/postgres.ts'
import { SQL_OBJECTS } from '../../src/db/functions.ts'
import { DamagedSchemaError, InstallationConflictError } from '../../src/db/install.ts'
import { readInstallation } from '../../src/db/installation.ts'
import { migrate, NotMigratedError, SchemaTooNewError } from '../../src/db/migrate.ts'
import { ForeignSchemaError } from '../../src/db/roles.ts'
import { createLog } from '../../src/ops/log.ts'
import { call } from '../support/client.ts'
import { describeSchema } from '../support/describeSchema.ts'
import { LogLines } from '../support/logLines.ts'
import { startNode } from '../support/node.ts'
import { type FreshDatabase, freshDatabase } from '../support/postgres.ts'
import { ResumingTail } from '../support/resumingTail.ts'
import { asStranger } from '../support/stranger.ts'
import { connect, migratedDatabase } from '../support/template.ts'
import { until } from '../support/until.ts'

const log = createLog('silent')

describe('migrating', () => {
  const databases: FreshDatabase[] = []
  const clients: pg.Client[] = []

  afterEach(async () => {
    for (const client of clients.splice(0)) await client.end()
    for (const database of databases.splice(0)) await database.drop()
  })

  async function open(database: FreshDatabase): Promise<{ database: FreshDatabase; db: pg.Client }> {
    databases.push(database)
    const db = await connect(database)
    clients.push(db)
    return { database, db }
  }

  const releases = async (db: pg.Client) => {
    const { rows } = await db.query<{ name: string; release: string }>(
      'select o.name, o.release from starcite.installed_objects o order by o.name',
    )
    return rows
  }

  it('ten at once on an empty database all succeed, and one of them did the work', async () => {
    const { database, db } = await open(await freshDatabase())

    await Promise.all(Array.from({ length: 10 }, () => migrate(database.url, '1.2.3', log)))

    const { rows } = await db.query<{ name: string; times: string }>(
      'select m.name, count(*) as times from starcite.migrations m group by m.name',
    )
    expect(rows).not.to.have.lengthOf(0)
    expect(rows.every(({ times }) => times === '1')).to.equal(true)
    expect((await releases(db)).map(({ name }) => name)).to.deep.equal([...SQL_OBJECTS].sort())
  })

  it('ten nodes that start at once on an empty database all come up and serve', async () => {
    const { database } = await open(await freshDatabase())

    const nodes = await Promise.all(
      Array.from({ length: 10 }, () => startNode(database, { DB_POOL_SIZE: '3' })),
    )

    const created = await call('POST', `${nodes[0]?.url}/v1/sessions`, { id: 'first' })
    expect(created.status).to.equal(201)
    const answers = await Promise.all(
      nodes.map(({ url }) => call('POST', `${url}/v1/sessions/first/append`, { type: 't', payload: {} })),
    )
    expect(answers.map(({ json }) => json.seq).sort((x, y) => x - y)).to.deep.equal([
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
    ])
    await Promise.all(nodes.map((node) => node.stop()))
  })

  it('does nothing the second time', async () => {
    const { database, db } = await open(await migratedDatabase())
    const { rows: before } = await db.query(
      'select p.proname, p.xmin from pg_catalog.pg_proc p order by p.oid',
    )

    await migrate(database.url, '0.0.0-test', log)

    const { rows: after } = await db.query(
      'select p.proname, p.xmin from pg_catalog.pg_proc p order by p.oid',
    )
    expect(after).to.deep.equal(before)
  })

  it('lets a node go on serving while a newer release takes over, and leaves the functions of that alone', async () => {
    const { database, db } = await open(await migratedDatabase())
    const node = await startNode(database)
    await call('POST', `${node.url}/v1/sessions`, { id: 's' })
    const tail = new ResumingTail(() => node.url, 's')
    let serving = true
    const statuses = new Set<number>()
    const traffic = (async () => {
      while (serving)
        statuses.add(
          (await call('POST', `${node.url}/v1/sessions/s/append`, { type: 't', payload: {} })).status,
        )
    })()

    // A newer release: another table, and every function replaced by a body that differs.
    await until('there is traffic', () => tail.cursor > 5)
    const { rows } = await db.query<{ definition: string }>(
      `select pg_get_functiondef(p.oid) as definition from pg_catalog.pg_proc p
        where p.pronamespace = 'starcite'::regnamespace and p.prokind = 'f'`,
    )
    for (const { definition } of rows) await db.query(definition)
    await db.query(
      `update starcite.installed_objects set hash = 'of another text', number = 1000, release = '99.0.0'`,
    )
    await db.query('create table starcite.of_a_newer_release ()')
    const seen = tail.cursor
    await until('the node goes on', () => tail.cursor > seen + 20)
    serving = false
    await traffic
    await migrate(database.url, '0.0.0-test', log)

    expect([...statuses]).to.deep.equal([201])
    expect(tail.faults).to.deep.equal([])
    expect(new Set((await releases(db)).map(({ release }) => release))).to.deep.equal(new Set(['99.0.0']))
    tail.stop()
    await node.stop()
  })

  it('replaces installed SQL with a lower number, regardless of its release', async () => {
    const { database, db } = await open(await migratedDatabase())
    const { number } = await readInstallation()
    await db.query(
      `update starcite.installed_objects set hash = 'old', number = number - 1, release = '99.0.0'`,
    )

    await migrate(database.url, '0.0.1', log)

    const { rows } = await db.query(
      'select distinct o.number::int, o.release, o.hash = $1 as stale from starcite.installed_objects o',
      ['old'],
    )
    expect(rows).to.deep.equal([{ number, release: '0.0.1', stale: false }])
  })

  it('replaces what a build installed that had no number', async () => {
    const { database, db } = await open(await migratedDatabase())
    await db.query(`update starcite.installed_objects set hash = 'old', number = default`)

    await migrate(database.url, '0.0.1', log)

    expect(new Set((await releases(db)).map(({ release }) => release))).to.deep.equal(new Set(['0.0.1']))
  })

  it('refuses a build that has the same number with another content, in either order, and replaces nothing', async () => {
    const ours = await readInstallation()
    const theirs = {
      ...ours,
      objects: ours.objects.map((object) =>
        object.name === 'wire_time'
          ? { ...object, text: `${object.text}-- theirs\n`, hash: 'theirs' }
          : object,
      ),
    }
    for (const [first, second] of [
      [ours, theirs],
      [theirs, ours],
    ] as const) {
      const { database, db } = await open(await freshDatabase())
      await migrate(database.url, '1.0.0', log, first)
      const before = await db.query('select * from starcite.installed_objects order by name')

      const refusal = await migrate(database.url, '2.0.0', log, second).catch((error: Error) => error)

      expect(refusal).to.be.instanceOf(InstallationConflictError)
      expect((refusal as Error).message).to.include('differ in wire_time')
      const after = await db.query('select * from starcite.installed_objects order by name')
      expect(after.rows).to.deep.equal(before.rows)
    }
  })

  const DAMAGES: Readonly<Record<string, string>> = {
    'a schema': 'drop schema audit cascade',
    'a function': 'drop function starcite.busy_sessions(text[], text[])',
    'a function body': `create or replace function starcite.feed_key(p_tenant_id text) returns text
                        language sql immutable parallel safe as $$ select '' $$`,
    'a setting of a function': 'alter function starcite.place_changes(bigint[]) reset search_path',
    'the rights that a function runs with':
      'alter function starcite.place_changes(bigint[]) security invoker',
    'a trigger': 'drop trigger sessions_record_change on starcite.sessions',
    'a trigger that was switched off': 'alter table starcite.sessions disable trigger sessions_mark_erased',
    'a view': 'drop view audit.slices',
    'the barrier of a view': 'alter view audit.events reset (security_barrier)',
    'a grant on a table': 'revoke select on starcite.sessions from starcite_app',
    'a grant on a function': 'revoke execute on function audit.verify(text, text) from starcite_auditor',
    'a policy': 'drop policy nodes_see_all on starcite.events',
  }
  for (const [what, damage] of Object.entries(DAMAGES))
    it(`finds by the catalog, and mends, what is missing or altered: ${what}`, async () => {
      const { database, db } = await open(await migratedDatabase())
      const before = await describeSchema(db)
      const definitions = async () =>
        (
          await db.query(
            `select p.oid::regprocedure::text as name, coalesce(pg_get_function_sqlbody(p.oid), p.prosrc) as body
               from pg_catalog.pg_proc p
              where p.pronamespace in (select n.oid from pg_catalog.pg_namespace n where n.nspname in ('starcite', 'audit'))
              order by 1`,
          )
        ).rows
      const bodies = await definitions()
      await db.query(damage)

      await migrate(database.url, '0.0.0-test', log)

      expect(await describeSchema(db)).to.equal(before)
      expect(await definitions()).to.deep.equal(bodies)
      const { rows } = await db.query(`select t.tgname from pg_catalog.pg_trigger t where t.tgenabled = 'D'`)
      expect(rows).to.deep.equal([])
    })

  /** What a node may do that does not own the schema. */
  async function asNode<T>(database: FreshDatabase, db: pg.Client, run: (url: string) => Promise<T>) {
    const role = `node_${randomUUID().replaceAll('-', '')}`
    await db.query(`create role ${role} login password 'of a node' in role starcite_app`)
    const url = Object.assign(new URL(database.url), { username: role, password: 'of a node' }).href
    try {
      return await run(url)
    } finally {
      await db.query(`drop role ${role}`)
    }
  }
  /** What the catalog's text of a view is after it, which reads the same, and nothing else. */
  async function reword(db: pg.Client, view: string) {
    const { rows } = await db.query<{ definition: string; options: string }>(
      `select rtrim(pg_get_viewdef(c.oid), ';') as definition, 'with (' || array_to_string(c.reloptions, ', ') || ')' as options
         from pg_catalog.pg_class c where c.oid = $1::regclass`,
      [view],
    )
    const { definition, options } = rows[0] as (typeof rows)[0]
    await db.query(`create or replace view ${view} ${options ?? ''} as select v.* from (${definition}) v`)
  }
  const schemaFinding = async (url: string) => {
    for await (const { name, result } of checkPostgres(url, url, 1)) if (name === 'schema') return result
    return undefined
  }

  it('lets a node without rights start where only the text of a view differs, warns, and is put right by the owner', async () => {
    const { database, db } = await open(await migratedDatabase())
    await reword(db, 'audit.slices')
    const lines = new LogLines()

    await asNode(database, db, (url) => migrate(url, '0.0.0-test', lines.log))

    expect(lines.text).to.include('audit.slices')
    expect(await schemaFinding(database.url)).to.equal('warning')
    await migrate(database.url, '0.0.0-test', log)
    expect(await schemaFinding(database.url)).to.equal('ok')
  })

  for (const what of [
    'a function body',
    'a setting of a function',
    'a trigger that was switched off',
    'a view',
    'the barrier of a view',
  ])
    it(`refuses a node without rights what is missing or altered: ${what}`, async () => {
      const { database, db } = await open(await migratedDatabase())
      await reword(db, 'audit.slices')
      await db.query(DAMAGES[what] as string)

      const refusal = await asNode(database, db, (url) =>
        migrate(url, '0.0.0-test', log).catch((error: Error) => error),
      )

      expect(refusal).to.be.instanceOf(NotMigratedError)
      expect(await schemaFinding(database.url)).to.equal('failed')
    })

  it('refuses a schema without a table that it had, and says which', async () => {
    const { database, db } = await open(await migratedDatabase())
    await db.query('drop table starcite.producers cascade')

    const refusal = await migrate(database.url, '0.0.0-test', log).catch((error: Error) => error)

    expect(refusal).to.be.instanceOf(DamagedSchemaError)
    expect((refusal as Error).message).to.include('starcite.producers')
  })

  const TABLE_DAMAGES: Readonly<Record<string, string>> = {
    'lacks column digest': 'alter table starcite.producers drop column digest',
    'has a different column digest':
      'alter table starcite.producers alter column digest type text using digest::text',
    'starcite.events lacks row security': 'alter table starcite.events disable row level security',
    'lacks column last_hash': 'alter table starcite.slices drop column last_hash',
    'lacks constraint producers_pkey': 'alter table starcite.producers drop constraint producers_pkey',
    'lacks index sessions_tenant_metadata_idx': 'drop index starcite.sessions_tenant_metadata_idx',
    'lacks policy granted_tenants': 'drop policy granted_tenants on starcite.producers',
    'starcite.installed_tables is empty': 'truncate starcite.installed_tables',
  }
  for (const [words, damage] of Object.entries(TABLE_DAMAGES))
    it(`refuses tables that are not as migrations left them: ${words}`, async () => {
      const { database, db } = await open(await migratedDatabase())
      await db.query(damage)

      const refusal = await migrate(database.url, '0.0.0-test', log).catch((error: Error) => error)
      const findings: Finding[] = []
      for await (const finding of checkPostgres(database.url, database.url, 1)) findings.push(finding)

      expect(refusal).to.be.instanceOf(DamagedSchemaError)
      expect((refusal as Error).message)
        .to.include(words)
        .and.include('restore the backup completely')
      const found = findings.find(({ name }) => name === 'schema')
      expect(found).to.include({ result: 'failed' })
      expect(found?.message).to.include(words)
    })

  it('lets be what operators have added to tables, and tuned', async () => {
    const { database, db } = await open(await migratedDatabase())
    await db.query('create index of_an_operator on starcite.sessions (created_at)')
    await db.query('alter table starcite.sessions add column of_an_operator text')
    await db.query('alter index starcite.sessions_pkey set (fillfactor = 70)')
    await db.query('alter index starcite.sessions_list_idx set (fillfactor = 70)')
    await db.query('alter table starcite.slices validate constraint slices_last_hash_is_sha256')

    await migrate(database.url, '0.0.0-test', log)
  })

  it('takes the words of another release of Postgres for what they are, and notes its own', async () => {
    const { database, db } = await open(await migratedDatabase())
    const note = async () => (await db.query('select * from starcite.installed_tables order by 1, 2')).rows
    const before = await note()
    await db.query(
      `update starcite.installed_tables set server_version = server_version - 1, definition = 'worded otherwise'`,
    )

    await migrate(database.url, '0.0.0-test', log)

    expect(await note()).to.deep.equal(before)
  })

  it('refuses to put back by an older build what a newer one installed', async () => {
    const { database, db } = await open(await migratedDatabase())
    await db.query('update starcite.installed_objects set number = number + 1')
    await migrate(database.url, '0.0.0-test', log)
    await db.query('drop schema audit cascade')

    const refusal = await migrate(database.url, '0.0.0-test', log).catch((error: Error) => error)

    expect(refusal).to.be.instanceOf(DamagedSchemaError)
    expect((refusal as Error).message).to.match(/lacks audit\.version, .*newer build/)
  })

  it('refuses a schema with a migration that it does not know, and changes nothing', async () => {
    const { database, db } = await open(await migratedDatabase())
    await db.query(`insert into starcite.migrations (name, run_on) values ('9999_from_the_future', now())`)
    await db.query(`update starcite.installed_objects set hash = 'old', number = 0, release = '0.0.0'`)

    const refusal = await migrate(database.url, '1.0.0', log).then(
      () => undefined,
      (error: Error) => error,
    )

    expect(refusal).to.be.instanceOf(SchemaTooNewError)
    expect(refusal?.message).to.include('9999_from_the_future')
    expect(new Set((await releases(db)).map(({ release }) => release))).to.deep.equal(new Set(['0.0.0']))
  })

  it('refuses a schema audit of another owner, names the owner, and changes nothing', async () => {
    const { database, db } = await open(await freshDatabase())
    await db.query('create schema audit authorization pg_database_owner')

    const refusal = await migrate(database.url, '1.0.0', log).then(
      () => undefined,
      (error: Error) => error,
    )

    expect(refusal).to.be.instanceOf(ForeignSchemaError)
    expect(refusal?.message).to.include('pg_database_owner')
    expect(
      (await db.query(`select from pg_catalog.pg_tables t where t.schemaname = 'starcite'`)).rowCount,
    ).to.equal(0)
  })

  it('waits for one that has the turn, says who that is, and goes on when that one dies', async () => {
    const { database, db } = await open(await migratedDatabase())
    await db.query(`update starcite.installed_objects set hash = 'old', release = '0.0.0', number = 0`)
    const holder = await connect(database)
    await holder.query('begin; lock table starcite.migrations in exclusive mode')
    const { rows } = await holder.query<{ pid: number }>('select pg_backend_pid() as pid')
    const lines = new LogLines()
    let done = false
    const migrating = migrate(database.url, '1.0.0', lines.log).then(() => {
      done = true
    })
    await until('it says what it waits for', () => lines.text.includes(`waiting for process ${rows[0]?.pid}`))
    expect(done).to.equal(false)

    await db.query('select pg_terminate_backend($1)', [rows[0]?.pid])
    await migrating

    expect(new Set((await releases(db)).map(({ release }) => release))).to.deep.equal(new Set(['1.0.0']))
  })

  it('waits for a build that takes the lock of before, unless the one who has it could not migrate', async () => {
    const { database, db } = await open(await migratedDatabase())
    const lock = `select pg_advisory_lock(hashtextextended('starcite.migrate', 0))`
    const older = await connect(database)
    await older.query(lock)
    const lines = new LogLines()
    const migrating = migrate(database.url, '1.0.0', lines.log)
    await until('it waits', () => lines.text.includes('waiting for process'))
    await older.end()
    await migrating

    await asStranger(database, db, async (stranger) => {
      await stranger.query(lock)
      await migrate(database.url, '1.0.1', log)
    })
  })

  it('runs again when another program changed the same entry of a catalog, by a GRANT for example', async () => {
    const { database, db } = await open(await migratedDatabase())
    await db.query('revoke select on starcite.sessions from starcite_app')
    const other = await connect(database)
    clients.push(other)
    await other.query('begin; grant select on starcite.sessions to starcite_auditor')
    const migrating = migrate(database.url, '1.0.0', log)
    const isWaiting = async () => {
      const { rows } = await db.query<{ waiting: boolean }>(
        `select exists (select from pg_stat_activity where datname = current_database()
                           and application_name = 'starcite migrate' and wait_event = 'transactionid') as waiting`,
      )
      return rows[0]?.waiting ?? false
    }
    await until('the migration waits for the other transaction', isWaiting)

    await other.query('commit')
    await migrating

    const { rows } = await db.query(
      `select has_table_privilege('starcite_app', 'starcite.sessions', 'select') as granted`,
    )
    expect(rows).to.deep.equal([{ granted: true }])
  })
})
