import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect } from 'chai'
import pg from 'pg'
import { namespaces } from '../../src/cli/doctor/postgres.ts'
import { describeNamespaces } from '../../src/cli/doctor/queries.ts'
import { migrate } from '../../src/db/migrate.ts'
import { Db } from '../../src/db/pool.ts'
import { createLog } from '../../src/ops/log.ts'
import { at } from '../support/answers.ts'
import { newKey } from '../support/checkpoints.ts'
import { call, TailClient } from '../support/client.ts'
import { EventStreamClient } from '../support/eventStreamClient.ts'
import { makeEveryCall } from '../support/everyCall.ts'
import { startNode } from '../support/node.ts'
import { hasPgbouncer, PgBouncer } from '../support/pgbouncer.ts'
import { programOf } from '../support/programs.ts'
import { connect } from '../support/template.ts'
import { type ThrowAwayPostgres, throwAwayPostgres } from '../support/throwAwayPostgres.ts'
import { layTraps, stepsOn } from '../support/traps.ts'
import { until } from '../support/until.ts'

const COMMANDS = programOf('test/support/commands.ts')
const LOG = createLog('silent')

/** What a database may be set to for the sake of other programs, and our statements are not written for. */
const ODD_SETTINGS = {
  standard_conforming_strings: 'off',
  array_nulls: 'off',
  bytea_output: 'escape',
  DateStyle: `'SQL, DMY'`,
  IntervalStyle: 'sql_standard',
  TimeZone: `'Asia/Kathmandu'`,
  extra_float_digits: '-15',
  transform_null_equals: 'on',
  quote_all_identifiers: 'on',
  default_transaction_isolation: `'repeatable read'`,
}

/**
 * Roles as docs/security.md sets them up, in a database whose search path leads into schemas that another login fills,
 * before the catalog: mallory has a login, and CREATE on `public`, as every login had before Postgres 15.
 */
describe('a database whose search path leads into traps', () => {
  let postgres: ThrowAwayPostgres
  let admin: pg.Client
  let directory: string
  const { privatePem } = newKey()

  const url = (login: string) => {
    const its = new URL(postgres.server.url)
    its.username = login
    its.password = 'secret'
    its.pathname = '/app'
    return its.href
  }
  const startOnRoles = (settings: Record<string, string> = {}) =>
    startNode(
      { url: url('app_login') },
      {
        STARCITE_TIERING_URL: url('tiering_login'),
        STARCITE_SEGMENT_INTERVAL: '1s',
        STARCITE_HOT_RETENTION: '0s',
        STARCITE_ARCHIVE_FLUSH_INTERVAL_MS: '100',
        STARCITE_CHECKPOINT_KEY: privatePem,
        STARCITE_CHECKPOINT_INTERVAL: '1s',
        ...settings,
      },
    )

  before(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'starcite-traps-'))
    postgres = await throwAwayPostgres()
    const server = await connect(postgres.server)
    await server.query(`create role deploy login password 'secret' createrole`)
    await server.query(`create role mallory login password 'secret'`)
    await server.query('create database app owner deploy')
    await server.query('alter database app set search_path = "$user", public, pg_catalog')
    for (const [name, value] of Object.entries(ODD_SETTINGS))
      await server.query(`alter database app set ${name} = ${value}`)
    await server.end()
    const its = new URL(postgres.server.url)
    its.pathname = '/app'
    admin = await connect({ url: its.href })
    await admin.query('grant create on schema public to mallory')
    // "$user" of a node, of who migrates, and of the owner that it becomes.
    for (const role of ['app_login', 'deploy', 'starcite_owner'])
      await admin.query(
        `create schema ${role} authorization mallory; grant usage on schema ${role} to public`,
      )
    const mallory = await connect({ url: url('mallory') })
    for (const schema of ['public', 'app_login']) await layTraps(mallory, schema)
    for (const schema of ['deploy', 'starcite_owner'])
      for (const name of ['to_regclass', 'current_setting', 'pg_has_role'])
        await mallory.query(
          `create function ${schema}.${name}(text) returns text language sql as $$ select public.step('${schema}')::text $$`,
        )
    await mallory.end()
  })
  after(async () => {
    await admin?.end()
    await postgres?.end()
    await rm(directory, { recursive: true, force: true })
  })

  const steps = async () => (await stepsOn(admin, 'public')) + (await stepsOn(admin, 'app_login'))
  let expected = 0
  afterEach(async () => {
    expect(await steps(), 'traps that were called').to.equal(expected)
  })

  it('has traps that work: they catch a connection that does not pin the path', async () => {
    const client = new pg.Client({ connectionString: url('deploy') })
    await client.connect()
    for (const statement of [
      `select to_json('x'::pg_catalog.text)`,
      `select hashtextextended('x', 0)`,
      `select pg_catalog.lower('x') operator(public.=) 'x'::varchar`,
      `select 1 = 1`,
      `select 'x'::text`,
      'select from pg_class',
    ])
      expect((await client.query(statement).catch((error) => error)).message, statement).to.match(/^a trap/)
    await client.end()
    expected = await steps()
    expect(expected).to.equal(6)
  })

  it('is migrated', async () => {
    await migrate(url('deploy'), '0.0.0-test', LOG)
    await migrate(url('deploy'), '0.0.0-test', LOG)

    for (const duty of ['app', 'tiering', 'auditor'])
      await admin.query(`create role ${duty}_login login password 'secret' in role starcite_${duty}`)
    await admin.query(
      'create role service login in role starcite_auditor; grant usage on schema starcite to service',
    )
    for (const role of ['app_login', 'tiering_login'])
      await admin.query(`alter role ${role} in database app set search_path = public, "$user", pg_catalog`)
    await migrate(url('app_login'), '0.0.0-test', LOG)
  })

  it('serves every call, and sees a session through its whole life', async () => {
    const node = await startOnRoles()
    const feed = new EventStreamClient(`${node.url}/v1/lifecycle`)
    try {
      await makeEveryCall(node.url, 'one')
      await call('POST', `${node.url}/v1/sessions`, { id: 'life', title: 'title', metadata: { k: 'v' } })
      const events = Array.from({ length: 5 }, (_, n) => ({
        type: 't',
        payload: { n },
        producer_id: 'p',
        producer_seq: n + 1,
      }))
      for (const _ of [1, 2])
        expect((await call('POST', at(node.url, 'life', '/events'), { events })).status).to.be.oneOf([
          200, 201,
        ])
      const patched = await call('PATCH', at(node.url, 'life'), {
        metadata: { more: 1 },
        expected_version: 1,
      })
      expect(patched.json.metadata, patched.text).to.deep.equal({ k: 'v', more: 1 })
      expect((await call('GET', `${node.url}/v1/sessions?metadata.k=v`)).json.sessions).to.have.lengthOf(1)
      await until('all is cold, and a checkpoint covers it', async () => {
        const { rows } = await admin.query(
          `select (select pg_catalog.count(*) from starcite.events) = 0
                  and exists (select from starcite.checkpoint_heads c where c.last_seq = 5) as done`,
        )
        return rows[0].done
      })
      const tail = new TailClient(node.url, 'life', 'cursor=0')
      await tail.until((client) => client.events.length === 5)
      const redacted = await call('POST', at(node.url, 'life', '/events/2/redact'), { vacuum: true })
      const erased = await call('DELETE', at(node.url, 'life'), { vacuum: true })
      await tail.until((client) => client.closed !== undefined)
      for (const { json } of [redacted, erased])
        await until('the erasure is done', async () => {
          const receipt = await call('GET', `${node.url}/v1/erasures/${json.id}`)
          return receipt.json.status === 'done'
        })
      await feed.until('it has told of all', ({ text }) =>
        ['created', 'appended', 'updated', 'erased'].every((kind) => text.includes(`session.${kind}`)),
      )
      const metrics = (await call('GET', `${node.url}/metrics`)).text
      expect(metrics).to.match(/^starcite_archive_failures_total 0$/m)
      expect(metrics).to.match(/^starcite_listener_up 1$/m)
    } finally {
      feed.close()
      await node.stop()
    }
  })

  it('is used by people and services in SQL, with the path that they happen to have', async () => {
    await admin.query(
      `select starcite.create_session('default', 'sql');
       insert into starcite.tenant_grants values ('service', 'default');
       grant execute on function starcite.append(text, text, json, text, text, text, bigint, text, json, json, bigint, text)
          to service`,
    )
    const service = new pg.Client({ connectionString: url('service') })
    service.on('error', () => {}) // the server may be stopped under it
    await service.connect()
    await service.query(
      `select * from starcite.append('sql', 't', '{"a":1}', p_producer_id => 'p', p_producer_seq => 1)`,
    )
    for (const view of [
      'version',
      'sessions',
      'events',
      'events_loaded',
      'producers',
      'segments',
      'slices',
      'changes',
    ])
      await service.query(`select * from audit.${view}`)
    const { rows } = await service.query(`select v.ok from audit.verify('default', 'sql') v`)
    expect(rows).to.deep.equal([{ ok: true }])
    await service.query(
      `select starcite.chain(starcite.genesis_hash(e.tenant, e.session), e.chain_version,
                starcite.chain_link(e.chain_version, e.seq, e.time, e.type, e.actor, e.source, e.producer_id, e.producer_seq,
                  e.idempotency_key, e.subject, starcite.content_digest(e.salt, e.payload, e.metadata, e.refs)))
                  over (order by e.seq)
         from audit.events e`,
    )
    await service.end()
  })

  it('is worked on by the commands of an operator', async () => {
    const child = spawn(
      process.execPath,
      [
        ...COMMANDS,
        'doctor',
        'audit verify --all',
        'audit export --all --output export.ndjson',
        'audit load --session one --for 1d',
        'audit prove one 1 --output proof.json',
        'audit checkpoints verify',
        'hold add one --reason because --by mallory',
        'hold list',
        'retention set --default --content-after 300d',
        'retention due',
        'tier',
      ],
      {
        cwd: directory,
        env: {
          PATH: process.env.PATH,
          DATABASE_URL: url('deploy'),
          STARCITE_CHECKPOINT_KEY: privatePem,
          STARCITE_STARTUP_WAIT: '0s',
        },
      },
    )
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        output += chunk
      })
    const [code] = await once(child, 'close')

    expect(code, output).to.equal(0)
    expect(output).to.match(/search_path .*puts other schemas before pg_catalog/)
  })

  it('gets a warning of doctor that every login may create in public, as before Postgres 15', async () => {
    await admin.query('grant create on schema public to public')

    expect(namespaces(await describeNamespaces(admin))).to.include({
      name: 'search_path',
      result: 'warning',
      message: 'every login may create objects in the schema public',
    })
  })

  describe('behind PgBouncer, which gives each transaction another session', () => {
    let bouncer: PgBouncer

    before(async function () {
      if (!hasPgbouncer()) {
        process.stdout.write('NOT TESTED: there is no pgbouncer\n')
        this.skip()
      }
      bouncer = await PgBouncer.start(url('app_login'), { app_login: 'secret' })
    })
    after(() => bouncer?.stop())

    it('serves every call, and leaves the path of others alone', async () => {
      const node = await startNode(
        { url: bouncer.through(url('app_login')) },
        { STARCITE_LISTEN_URL: url('app_login'), STARCITE_PREPARED_STATEMENTS: 'false' },
      )
      try {
        await makeEveryCall(node.url, 'pooled')
        const patched = await call('PATCH', at(node.url, 'pooled'), { metadata: { more: 1 } })
        expect(patched.status, patched.text).to.equal(200)
        const pathOf = async (at: string) => {
          const other = new pg.Client({ connectionString: at })
          await other.connect()
          const { rows } = await other.query('show search_path')
          await other.end()
          return rows[0].search_path
        }
        const ofLogin = await pathOf(url('app_login'))
        expect(ofLogin).to.match(/public.*pg_catalog/)
        for (let i = 0; i < 4; i += 1)
          expect(await pathOf(bouncer.through(url('app_login')))).to.equal(ofLogin)
      } finally {
        await node.stop()
      }
    })

    for (const isNamed of [false, true])
      it(`pins each statement, good or refused${isNamed ? ', prepared ones too' : ''}`, async () => {
        // Names of statements are of the server's session, which this PgBouncer does not keep to: one session then.
        const single = await PgBouncer.start(
          url('app_login'),
          { app_login: 'secret' },
          { default_pool_size: '1' },
        )
        const db = new Db({
          url: single.through(url('app_login')),
          size: isNamed ? 1 : 4,
          applicationName: 'test',
          timeoutMs: 5000,
          preparedStatements: isNamed,
          log: LOG,
        })
        const name = (given: string) => (isNamed ? { name: given } : {})
        for (const round of [1, 2, 3]) {
          const [row] = await db.query(
            { ...name('good'), text: `select to_json($1::text)::text, current_setting('search_path')` },
            ['x'],
          )
          expect(row, `round ${round}`).to.deep.equal(['"x"', 'pg_catalog, pg_temp'])
          for (const text of ['select 1 / $1::int', 'select * from nowhere where $1 = 0'])
            expect(
              await db.query({ ...name(text.slice(-20)), text }, [0]).catch((error) => error.code),
            ).to.be.oneOf(['22012', '42P01'])
          expect(await db.query({ text: `select 'plain' || 1` }, [])).to.deep.equal([['plain1']])
          expect(await db.query({ text: 'select from (values (1)) as v' }, [])).to.have.lengthOf(1)
        }
        await Promise.all(Array.from({ length: 20 }, () => db.ping()))
        await db.stop()
        await single.stop()
      })
  })
})
