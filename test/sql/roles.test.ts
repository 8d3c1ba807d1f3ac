import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import type pg from 'pg'
import { migrate } from '../../src/db/migrate.ts'
import { createLog } from '../../src/ops/log.ts'
import { appendEvents, createSessions } from '../support/appendEvents.ts'
import { connect } from '../support/template.ts'
import { useConnection, useDatabase } from '../support/useNode.ts'

const DENIED = '42501'
/** A view of several tables takes no changes from any role. */
const NOT_UPDATABLE = '55000'

describe('the roles', () => {
  const database = useDatabase()
  const admin = useConnection(database)
  const logins: string[] = []
  const clients: pg.Client[] = []

  before(async () => {
    for (const tenant of ['acme', 'zeta'])
      await admin.query(`select starcite.create_session($1, 'same')`, [tenant])
    await createSessions(admin, 'own')
    await appendEvents(admin, [
      { tenant: 'acme', session: 'same', type: 'of acme' },
      { tenant: 'zeta', session: 'same', type: 'of zeta' },
      { tenant: 'zeta', session: 'same', type: 'of zeta' },
    ])
  })
  after(async () => {
    for (const client of clients) await client.end()
    for (const login of logins) {
      await admin.query(`delete from starcite.tenant_grants g where g.grantee = $1::regrole`, [login])
      await admin.query(`drop owned by ${login}`)
      await admin.query(`drop role ${login}`)
    }
  })

  /** A login that is a member of these roles. */
  async function login(memberships: string, options = ''): Promise<{ db: pg.Client; name: string }> {
    const name = `starcite_test_${randomUUID().replaceAll('-', '')}`
    await admin.query(`create role ${name} login ${options} ${memberships && `in role ${memberships}`}`)
    logins.push(name)
    const db = await connect(database)
    clients.push(db)
    await db.query(`set session authorization ${name}`)
    return { db, name }
  }
  const code = (db: pg.Client, sql: string) =>
    db.query(sql).then(
      () => 'done',
      (error) => error.code,
    )
  const segment = async () =>
    (await admin.query<{ name: string }>('select g.name from starcite.segments g limit 1')).rows[0]?.name

  it('own the schema without being able to log in, and run what runs as its owner', async () => {
    const { rows } = await admin.query(
      `select distinct c.relowner::regrole::text as owner from pg_class c where c.relnamespace = 'starcite'::regnamespace
        union select distinct p.proowner::regrole::text from pg_proc p where p.pronamespace = 'starcite'::regnamespace
        union select n.nspowner::regrole::text from pg_namespace n where n.nspname = 'starcite'`,
    )
    expect(rows).to.deep.equal([{ owner: 'starcite_owner' }])
    const { rows: roles } = await admin.query(
      `select r.rolname from pg_roles r where r.rolname like 'starcite\\_%' and r.rolname !~ 'test'
          and not (r.rolcanlogin or r.rolsuper or r.rolcreatedb or r.rolcreaterole or r.rolbypassrls) order by 1`,
    )
    expect(roles.map((role) => role.rolname)).to.deep.equal([
      'starcite_app',
      'starcite_auditor',
      'starcite_owner',
      'starcite_tiering',
    ])
  })

  it('let a node follow and place changes, and never forge or alter one', async () => {
    const { db } = await login('starcite_app')
    await db.query(`select starcite.create_session('default', 'changed')`)
    await db.query(
      `with caller as materialized (select set_config('starcite.actor', 'user:lena', true))
       update starcite.sessions s set title = 'x' from caller where s.id = 'changed'`,
    )
    await db.query('select starcite.place_changes(array(select h.sid from starcite.session_heads h))')
    const { rows } = await db.query(
      `select c.kind, c.actor from starcite.session_changes c join starcite.sessions s on s.sid = c.sid
        where s.id = 'changed' and c.place <= (select l.place from starcite.lifecycle_heads l where l.tenant_id = 'default')
        order by c.place`,
    )
    expect(rows).to.deep.equal([
      { kind: 'created', actor: null },
      { kind: 'updated', actor: 'user:lena' },
    ])
    const { rows: told } = await db.query('select count(*)::int as n from starcite.session_progress')
    expect(told[0].n, 'of every tenant').to.equal(2)
    for (const forbidden of [
      `insert into starcite.session_changes (sid, tenant_id, kind, at, version) select s.sid, 'acme', 'erased', now(), 1 from starcite.sessions s limit 1`,
      `update starcite.session_changes set actor = 'user:other'`,
      'delete from starcite.session_changes',
      'truncate starcite.session_changes',
      'update starcite.session_progress set last_seq = 0',
      'delete from starcite.lifecycle_heads',
      `select starcite.feed_key('acme')`,
      'alter table starcite.sessions disable trigger sessions_record_change',
    ])
      expect(await code(db, forbidden), forbidden).to.equal(DENIED)
  })

  it('let a node read and call, and never change, move or remove what was appended', async () => {
    const { db } = await login('starcite_app')
    const name = await segment()
    await db.query(`select starcite.create_session('default', 'mine')`)
    const outcomes = await appendEvents(db, [{ session: 'mine' }])
    expect(outcomes.map((outcome) => outcome.outcome)).to.deep.equal(['appended'])
    const { rows } = await db.query('select count(*)::int as n from starcite.events')
    expect(rows[0].n, 'of every tenant').to.equal(4)
    expect(
      await code(db, `update starcite.sessions set title = 'x', version = version + 1 where id = 'mine'`),
    ).to.equal('done')

    await db.query(`select starcite.create_session('default', 'gone')`)
    await appendEvents(db, [{ session: 'gone', payload: '{"text":"secret"}' }])
    const { rows: erasures } = await db.query(
      `select (starcite.redact_event('default', 'gone', 1)).outcome as redacted,
              (starcite.erase_session('default', 'gone')).outcome as erased`,
    )
    expect(erasures, 'content goes by procedures alone').to.deep.equal([
      { redacted: 'redacted', erased: 'erased' },
    ])

    for (const forbidden of [
      `insert into starcite.events select * from starcite.events limit 1`,
      `update starcite.events set payload = '{}'`,
      'delete from starcite.events',
      'truncate starcite.events',
      `select from starcite.${name}`,
      `update starcite.${name} set payload = '{}'`,
      `delete from starcite.${name}`,
      `truncate starcite.${name}`,
      `drop table starcite.${name}`,
      `alter table starcite.events detach partition starcite.${name}`,
      `alter table starcite.events disable row level security`,
      'update starcite.session_heads set last_seq = 0',
      `update starcite.session_heads set chain_hash = '\\x00'`,
      'delete from starcite.session_heads',
      'select from starcite.producers',
      'update starcite.producers set producer_seq = 0',
      'delete from starcite.producers',
      `insert into starcite.sessions (tenant_id, id) values ('acme', 'forged')`,
      `update starcite.sessions set tenant_id = 'acme'`,
      `update starcite.sessions set id = 'other'`,
      `update starcite.sessions set creator_principal = null`,
      `update starcite.sessions set erased_at = now()`,
      'delete from starcite.sessions',
      `update starcite.segments set state = 'moved'`,
      `update starcite.settings set value = 'infinity' where name = 'closed_before'`,
      `insert into starcite.objects (key, tenant_id, segment, bytes, sha256, events) values ('k', 't', '${name}', 1, '', 1)`,
      'delete from starcite.objects',
      'update starcite.slices set byte_offset = 0',
      `insert into starcite.archive_objects (key, body) values ('k', '')`,
      'delete from starcite.archive_objects',
      `update starcite.erasures set state = 'done'`,
      'delete from starcite.erasures',
      'delete from starcite.legal_holds',
      'delete from starcite.superseded_objects',
      `select starcite.hold_session('default', 'mine', 'x')`,
      `select starcite.release_session('default', 'mine')`,
      `select starcite.set_retention(null, null, '1 day')`,
      `select starcite.content_removed('{1}')`,
      'delete from starcite.migrations',
      `update starcite.installed_objects set hash = ''`,
      'select from starcite.tenant_grants',
      'select from starcite.installation_secret',
      'create table starcite.mine ()',
      `create or replace function starcite.wire_time(p_at timestamptz) returns text language sql return ''`,
      'drop function starcite.mark_erased() cascade',
      'alter table starcite.sessions disable trigger all',
      'set role starcite_owner',
    ])
      expect(await code(db, forbidden), forbidden).to.equal(DENIED)
  })

  const AUDIT_VIEWS = ['sessions', 'events', 'producers', 'segments', 'slices', 'changes'] as const

  it('show an auditor the tenants granted to it, whichever view it reads', async () => {
    const { db, name: auditor } = await login('starcite_auditor')
    const tenants = async (view: string, of = db) =>
      (
        await of.query<{ tenant: string }>(
          `select distinct v.tenant from audit.${view} v where v.tenant is not null order by 1`,
        )
      ).rows.map((row) => row.tenant)
    await admin.query(
      `insert into starcite.producers (sid, producer_id, producer_seq, seq, digest)
       select s.sid, 'p', 1, 1, '' from starcite.sessions s where s.id = 'same'`,
    )
    const segmentName = 'moved_for_roles'
    await admin.query(
      `insert into starcite.segments (name, from_at, to_at, state) values ($1, '2001-01-01', '2001-01-02', 'dropped')`,
      [segmentName],
    )
    await admin.query(
      `with f as (select set_config('starcite.archive_format', '2', true)), o as (
         insert into starcite.objects (key, tenant_id, segment, bytes, sha256, events)
         select t, t, $1, 1, sha256('x'), 1 from unnest(array['acme', 'zeta']) t, f returning object_id, tenant_id
       )
       insert into starcite.slices (sid, first_seq, last_seq, object_id, byte_offset, bytes, sha256)
       select s.sid, 1, 1, o.object_id, 0, 1, sha256('x') from o join starcite.sessions s using (tenant_id)
        where s.id = 'same'`,
      [segmentName],
    )
    for (const view of AUDIT_VIEWS) expect(await tenants(view), `${view} before any grant`).to.deep.equal([])
    await admin.query('insert into starcite.tenant_grants values ($1::regrole, $2)', [auditor, 'acme'])

    for (const view of AUDIT_VIEWS) expect(await tenants(view), view).to.deep.equal(['acme'])
    const { rows } = await db.query('select e.type from audit.events e')
    expect(rows.map((row) => row.type)).to.deep.equal(['of acme'])

    await admin.query('insert into starcite.tenant_grants values ($1::regrole, null)', [auditor])
    for (const view of AUDIT_VIEWS) {
      expect(await tenants(view), `${view}, of all`).to.include.members(['acme', 'zeta'])
      expect(await tenants(view, admin), `${view}, for a superuser`).to.deep.equal(await tenants(view))
    }
    await admin.query('delete from starcite.slices')
    await admin.query('delete from starcite.objects')
    await admin.query('delete from starcite.segments g where g.name = $1', [segmentName])
  })

  it('hide rows from an auditor before any function of its own is called with them', async () => {
    const { db, name: auditor } = await login('starcite_auditor')
    await admin.query('insert into starcite.tenant_grants values ($1::regrole, $2)', [auditor, 'acme'])
    await admin.query(`create schema "${auditor}" authorization ${auditor}`)
    await db.query(`create function "${auditor}".leak(text) returns boolean language plpgsql cost 0.0001
                    as $$ begin raise notice '%', $1; return true; end $$`)
    const told: string[] = []
    db.on('notice', ({ message }) => told.push(message ?? ''))

    await db.query(`select from audit.events e where "${auditor}".leak(e.type)`)
    for (const view of AUDIT_VIEWS)
      await db.query(`select from audit.${view} v where "${auditor}".leak(v.tenant)`)

    expect(new Set(told)).to.deep.equal(new Set(['of acme', 'acme', '<NULL>']))
  })

  it('let an auditor verify what it may read, by our word or by its own reckoning; other sessions are not there', async () => {
    const { db, name: auditor } = await login('starcite_auditor')
    await admin.query('insert into starcite.tenant_grants values ($1::regrole, $2)', [auditor, 'acme'])

    const { rows } = await db.query(`select v.ok, v.events::int from audit.verify('acme', 'same') v`)
    expect(rows).to.deep.equal([{ ok: true, events: 1 }])
    const { rows: chain } = await db.query(
      `select starcite.chain(starcite.genesis_hash(s.tenant, s.session), e.chain_version,
                starcite.chain_link(e.chain_version, e.seq, e.time, e.type, e.actor, e.source, e.producer_id, e.producer_seq,
                  e.idempotency_key, e.subject, starcite.content_digest(e.salt, e.payload, e.metadata, e.refs)) order by e.seq)
                = s.chain_hash as holds
         from audit.sessions s join audit.events e on e.tenant = s.tenant and e.session = s.session
        where s.session = 'same' group by s.tenant, s.session, s.chain_hash`,
    )
    expect(chain).to.deep.equal([{ holds: true }])

    const refusal = (tenant: string, session: string) =>
      db.query('select audit.verify($1, $2)', [tenant, session]).then(
        () => 'none',
        ({ code, message }) => `${code} ${message.replace(tenant, 'TENANT').replace(session, 'SESSION')}`,
      )
    const absent = await refusal('acme', 'nowhere')
    expect(absent).to.match(/^SC404 session_not_found/)
    expect(await refusal('zeta', 'same'), 'of another tenant').to.equal(absent)
    expect(await refusal('zeta', 'nowhere')).to.equal(absent)

    // Who has taken on a role verifies as that role.
    const superuser = await connect(database)
    clients.push(superuser)
    await superuser.query(`set role ${auditor}`)
    expect(await code(superuser, `select audit.verify('acme', 'same')`)).to.equal('done')
    expect(await code(superuser, `select audit.verify('zeta', 'same')`)).to.equal('SC404')
  })

  it('let an auditor read views alone, and change nothing', async () => {
    const { db, name: auditor } = await login('starcite_auditor')
    await admin.query('insert into starcite.tenant_grants values ($1::regrole, null)', [auditor])
    const { rows: relations } = await admin.query<{ name: string }>(
      `select c.oid::regclass::text as name from pg_class c
        where c.relnamespace = 'starcite'::regnamespace and c.relkind in ('r', 'p', 'v')`,
    )
    const { rows: functions } = await admin.query<{ name: string }>(
      `select p.oid::regprocedure::text as name from pg_proc p
        where p.pronamespace = 'starcite'::regnamespace and p.provolatile = 'v' and has_function_privilege($1, p.oid, 'execute')
          and (p.proname <> 'append' or p.prosecdef)`, // two forms of append run as who calls, and end at the third
      [auditor],
    )

    // Volatile in name alone: it returns its argument.
    expect(functions, 'functions that could change anything').to.deep.equal([
      { name: 'starcite.past_tenants(anyelement)' },
    ])
    for (const { name } of relations) expect(await code(db, `select from ${name}`), name).to.equal(DENIED)
    for (const forbidden of [
      `select from starcite.${await segment()}`,
      `insert into starcite.tenant_grants values ('${auditor}'::regrole, 'zeta')`,
      'delete from starcite.tenant_grants',
      `update starcite.events set payload = '{}'`,
      `select starcite.append('same', 't', '{}', p_tenant_id => 'acme')`,
      `select starcite.append('same', 't', '{}'::jsonb, p_tenant_id => 'acme')`,
      `select starcite.create_session('acme', 'x')`,
      `select starcite.redact_event('acme', 'same', 1)`,
      `select starcite.erase_session('acme', 'same')`,
      `select starcite.hold_session('acme', 'same', 'x')`,
      'select starcite.place_changes(null)',
      'select starcite.grant_roles()',
      'create table audit.mine ()',
      'create or replace view audit.version as select 2 as version, null::text as release',
      'alter view audit.events set (security_barrier = false)',
      'drop view audit.changes',
      'alter function audit.verify(text, text) security invoker',
      'set role starcite_owner',
    ])
      expect(await code(db, forbidden), forbidden).to.equal(DENIED)
    for (const impossible of [
      `update audit.events set payload = '{}'`,
      'delete from audit.events',
      `update audit.sessions set title = ''`,
      `insert into audit.producers (producer_id) values ('x')`,
      'delete from audit.changes',
    ])
      expect(await code(db, impossible), impossible).to.equal(NOT_UPDATABLE)
  })

  it('leave no grant of tenants behind when they are dropped: from the next grant on, and from the next migration', async () => {
    const grants = async () =>
      (await admin.query('select g.tenant_id from starcite.tenant_grants g order by 1')).rows.map(
        (row) => row.tenant_id,
      )
    const kept = `kept_${randomUUID().slice(0, 8)}`
    await admin.query(`create role ${kept}`)
    try {
      for (const forget of [
        () => admin.query('insert into starcite.tenant_grants values ($1::regrole, $2)', [kept, 'kept']),
        () => migrate(database.url, '0.0.0-test', createLog('silent')),
      ]) {
        await admin.query(`create role ${kept}_dropped`)
        await admin.query('insert into starcite.tenant_grants values ($1::regrole, $2)', [
          `${kept}_dropped`,
          'lost',
        ])
        await admin.query(`drop role ${kept}_dropped`)
        expect(await grants()).to.include('lost')

        await forget()

        expect(await grants())
          .to.include('kept')
          .and.not.include('lost')
      }
    } finally {
      await admin.query('delete from starcite.tenant_grants g where g.grantee = $1::regrole', [kept])
      await admin.query(`drop role ${kept}`)
    }
  })

  it('guard the tables by row security for a role of your own that may read them', async () => {
    const { db, name: reader } = await login('')
    await admin.query(`grant usage on schema starcite to ${reader}`)
    await admin.query(
      `grant select on starcite.sessions, starcite.session_heads, starcite.events, starcite.objects, starcite.slices,
         starcite.session_changes, starcite.erasures, starcite.tenant_grants to ${reader}`,
    )
    const count = async (table: string) =>
      (await db.query<{ n: number }>(`select count(*)::int as n from starcite.${table}`)).rows[0]?.n
    expect(await count('events'), 'before any grant').to.equal(0)
    await admin.query('insert into starcite.tenant_grants values ($1::regrole, $2)', [reader, 'acme'])

    expect((await db.query('select e.type from starcite.events e')).rows).to.deep.equal([{ type: 'of acme' }])
    for (const table of ['sessions', 'session_changes'])
      expect((await db.query(`select distinct s.tenant_id from starcite.${table} s`)).rows).to.deep.equal([
        { tenant_id: 'acme' },
      ])
    expect(await count('session_heads')).to.equal(await count('sessions'))
    for (const table of ['objects', 'slices', 'erasures']) expect(await count(table)).to.equal(0)
    expect(await count('tenant_grants'), 'its own').to.equal(1)
  })

  it('show no rows of a partition that is queried directly, even when granted by mistake', async () => {
    const { db, name: reader } = await login('')
    await admin.query('insert into starcite.tenant_grants values ($1::regrole, null)', [reader])
    const partition = await segment()
    await admin.query(`grant usage on schema starcite to ${reader}`)
    await admin.query(
      `grant select on starcite.${partition}, starcite.events, starcite.sessions, starcite.tenant_grants to ${reader}`,
    )

    expect((await db.query(`select from starcite.${partition}`)).rowCount).to.equal(0)
    expect((await db.query('select from starcite.events')).rowCount).to.be.above(0)
  })

  it('cost a node nothing: its plans are those of the owner', async () => {
    const { db } = await login('starcite_app')
    const plan = async (of: pg.Client, sql: string) =>
      (await of.query<{ 'QUERY PLAN': string }>(`explain (costs off) ${sql}`)).rows.map(
        (row) => row['QUERY PLAN'],
      )

    for (const sql of [
      `select h.* from starcite.sessions s join starcite.session_heads h on h.sid = s.sid where s.tenant_id = 'a' and s.id = 'b'`,
      'select e.* from starcite.events e where e.sid = 1 and e.seq > 1 order by e.seq limit 10',
      `select * from starcite.sessions s where s.tenant_id = 'a' and s.metadata::jsonb @> '{"a":1}' order by s.id limit 9`,
      'select o.key from starcite.slices s join starcite.objects o on o.object_id = s.object_id where s.sid = 1 and s.first_seq < 7',
    ])
      expect(await plan(db, sql), sql).to.deep.equal(await plan(admin, sql))
  })

  it('let tiering act as the owner, which taking partitions away demands', async () => {
    const { db } = await login('starcite_tiering')

    const { rows } = await db.query(
      `select pg_has_role(current_user, c.relowner, 'usage') as may from pg_class c where c.oid = 'starcite.events'::regclass`,
    )
    expect(rows).to.deep.equal([{ may: true }])
  })

  it('get their grants from the next migration when they are created after the schema', async () => {
    await admin.query('revoke all on schema starcite from starcite_app')
    const { db } = await login('starcite_app')
    expect(await code(db, 'select from starcite.sessions')).to.equal(DENIED)

    await migrate(database.url, '0.0.0-test', createLog('silent'))

    expect(await code(db, 'select from starcite.sessions')).to.equal('done')
  })
})
