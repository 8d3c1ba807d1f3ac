import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect } from 'chai'
import pg from 'pg'
import { CheckpointJob } from '../../src/audit/checkpoints/checkpointJob.ts'
import { trustedKeys } from '../../src/audit/checkpoints/signer.ts'
import { checkProof } from '../../src/audit/proofs/check.ts'
import { prove } from '../../src/audit/proofs/prove.ts'
import { DatabaseStartError } from '../../src/db/database.ts'
import { migrate } from '../../src/db/migrate.ts'
import { Db } from '../../src/db/pool.ts'
import { PostgresStore } from '../../src/objects/postgresStore.ts'
import { createLog } from '../../src/ops/log.ts'
import { Metrics } from '../../src/ops/metrics.ts'
import { at, unique } from '../support/answers.ts'
import { newKey } from '../support/checkpoints.ts'
import { call, TailClient } from '../support/client.ts'
import { EventStreamClient } from '../support/eventStreamClient.ts'
import { makeEveryCall } from '../support/everyCall.ts'
import { startNode } from '../support/node.ts'
import { programOf } from '../support/programs.ts'
import { residueOf } from '../support/residue.ts'
import { connect } from '../support/template.ts'
import { throwAwayPostgres } from '../support/throwAwayPostgres.ts'
import { poolOf } from '../support/tiering.ts'
import { until } from '../support/until.ts'
import { use } from '../support/use.ts'

const MIGRATE = programOf('src/cli/migrate.ts')

/** On a server of its own: roles belong to the server, and here they are made. */
describe('a Postgres where no role has more rights than needed', () => {
  const postgres = use(throwAwayPostgres)
  let serverUrl: string
  let admin: pg.Client
  const url = (login: string, database = 'app') => {
    const its = new URL(serverUrl)
    its.username = login
    its.password = 'secret'
    its.pathname = `/${database}`
    return its.href
  }
  /** A node whose segments last a second, and move at once. */
  const startOnRoles = () =>
    startNode(
      { url: url('app_login') },
      {
        STARCITE_TIERING_URL: url('tiering_login'),
        STARCITE_SEGMENT_INTERVAL: '1s',
        STARCITE_HOT_RETENTION: '0s',
        STARCITE_ARCHIVE_FLUSH_INTERVAL_MS: '100',
      },
    )

  before(async () => {
    serverUrl = postgres.server.url
    admin = new pg.Client({ connectionString: serverUrl })
    await admin.connect()
    // As a managed Postgres gives it: no superuser, but a login that may create roles, and owns the database.
    await admin.query(`create role deploy login password 'secret' createrole`)
    await admin.query('create database app owner deploy')
    await admin.query('create database empty owner deploy')
    await admin.query('create database by_hand owner deploy')
  })
  after(async () => {
    await admin?.end()
  })

  it('gets its roles and its schema from one who is no superuser, and gives logins one duty each', async () => {
    await migrate(url('deploy'), '0.0.0-test', createLog('silent'))
    await migrate(url('deploy'), '0.0.0-test', createLog('silent'))

    const deploy = new pg.Client({ connectionString: url('deploy') })
    await deploy.connect()
    for (const duty of ['app', 'tiering', 'auditor'])
      await deploy.query(`create role ${duty}_login login password 'secret' in role starcite_${duty}`)
    const { rows } = await deploy.query(
      `select n.nspowner::regrole::text as owner, r.rolsuper, r.rolcanlogin
         from pg_namespace n join pg_roles r on r.oid = n.nspowner where n.nspname = 'starcite'`,
    )
    await deploy.end()
    expect(rows).to.deep.equal([{ owner: 'starcite_owner', rolsuper: false, rolcanlogin: false }])
  })

  it('runs a node on the role of the application, with cold storage on that of tiering', async () => {
    const node = await startOnRoles()
    try {
      await makeEveryCall(node.url, 'one')
      const { last_seq: lastSeq } = (await call('GET', at(node.url, 'one'))).json
      const hot = (await call('GET', at(node.url, 'one', '/events'))).json.events
      const live = new TailClient(node.url, 'one', `cursor=${lastSeq}`)
      await call('POST', at(node.url, 'one', '/append'), { type: 'live', payload: {} })
      await live.until((client) => client.events.length === 1)
      live.close()

      const client = new pg.Client({ connectionString: url('app_login') })
      await client.connect()
      await until('its segment has moved', async () => {
        const { rows } = await client.query(
          'select t.moved_segments::int as n, t.objects::int as m from starcite.tiering_status t',
        )
        return rows[0].m > 0
      })
      await client.end()
      expect((await call('GET', at(node.url, 'one', `/events?limit=${lastSeq}`))).json.events).to.deep.equal(
        hot,
      )
    } finally {
      await node.stop()
    }
  })

  it('runs a session’s whole life on those two roles: no part needs a right that the roles do not have', async () => {
    const secret = `secret-${unique()}`
    const node = await startOnRoles()
    const feed = new EventStreamClient(`${node.url}/v1/lifecycle`)
    const owner = await connect({ url: url('deploy') })
    const done = (id: string) =>
      until('the erasure is done', async () => {
        const { json } = await call('GET', `${node.url}/v1/erasures/${id}`)
        return json.status === 'done' && json
      })
    try {
      await feed.until('it is open', ({ lastEventId }) => lastEventId !== '')
      const before = await owner.query(
        'select coalesce(max(e.erasure_id), 0) as last from starcite.erasures e',
      )
      for (const id of ['life', 'rest']) {
        await call('POST', `${node.url}/v1/sessions`, { id, title: secret, metadata: { m: secret } })
        await call('POST', at(node.url, id, '/events'), {
          events: Array.from({ length: 5 }, (_, n) => ({ type: 't', payload: { n, secret } })),
        })
      }
      await until('all is cold', async () => {
        const { rows } = await owner.query('select from starcite.events e')
        return rows.length === 0
      })
      await call('POST', at(node.url, 'life', '/append'), { type: 't', payload: { n: 5, secret } })
      const tail = new TailClient(node.url, 'life', 'cursor=0')
      await tail.until((client) => client.events.length === 6)

      const [cold, newest] = await Promise.all(
        [2, 6].map((seq) => call('POST', at(node.url, 'life', `/events/${seq}/redact`), { vacuum: true })),
      )
      for (const receipt of [cold, newest]) await done(receipt?.json.id)
      const { events } = (await call('GET', at(node.url, 'life', '/events?limit=100'))).json
      expect(events.map((event: { redacted?: true }) => event.redacted === true)).to.deep.equal(
        [1, 2, 3, 4, 5, 6].map((seq) => seq === 2 || seq === 6),
      )
      const receipt = await call('DELETE', at(node.url, 'life'), { vacuum: true })
      expect(receipt.status).to.equal(202)
      await tail.until((client) => client.closed !== undefined)
      expect(tail.closed).to.deep.equal({ code: 4004, reason: 'session_erased' })
      await done(receipt.json.id)
      expect((await call('GET', at(node.url, 'life', '/events'))).json.error).to.equal('session_erased')
      await done((await call('DELETE', at(node.url, 'rest'), { vacuum: true })).json.id)
      await feed.until('it has told of both', ({ text }) => text.split('session.erased').length > 2)
      expect(feed.text).to.match(/session\.created.*session\.appended.*session\.erased/s)

      const pool = poolOf(url('app_login'))
      await until(
        'nothing is left',
        async () => (await residueOf(owner, new PostgresStore(pool), secret)).length === 0,
      )
      await pool.stop()
      const { rows } = await owner.query(
        `select e.kind, e.state, e.last_error from starcite.erasures e where e.erasure_id > $1
          order by e.kind, e.erasure_id`,
        [before.rows[0].last],
      )
      expect(rows.map((row) => `${row.kind} ${row.state} ${row.last_error}`)).to.deep.equal([
        ...['event', 'event', 'session', 'session'].map((kind) => `${kind} done null`),
      ])
      const metrics = (await call('GET', `${node.url}/metrics`)).text
      expect(metrics).to.match(/^starcite_archive_failures_total 0$/m)
    } finally {
      feed.close()
      await owner.end()
      await node.stop()
    }
  })

  it('takes checkpoints on the role of tiering alone; nodes prove by them, auditors see them, neither changes them', async () => {
    const { privatePem, publicPem, signer } = newKey()
    const metrics = new Metrics()
    const log = createLog('silent')
    const pool = new Db({
      url: url('app_login'),
      size: 2,
      applicationName: 'test',
      timeoutMs: 5000,
      preparedStatements: true,
      log,
    })
    const store = new PostgresStore(pool)
    const asApp = {
      url: url('app_login'),
      connectTimeoutMs: 5000,
      store,
      signer,
      intervalMs: 1000,
      log,
      metrics,
    }
    expect(await new CheckpointJob(asApp).pass()).to.deep.equal({ ran: false, why: 'not_allowed' })

    const node = await startNode(
      { url: url('app_login') },
      { STARCITE_TIERING_URL: url('tiering_login'), STARCITE_CHECKPOINT_KEY: privatePem },
    )
    try {
      await until('there is a checkpoint', async () => {
        const rows = await pool.query(
          { text: 'select from starcite.checkpoints c where c.stored_at is not null' },
          [],
        )
        return rows.length > 0
      })
    } finally {
      await node.stop()
    }
    const proof = await prove(pool, store, {
      tenantId: 'default',
      sessionId: 'one',
      seq: 1,
      hasContent: true,
    })
    expect(checkProof(JSON.stringify(proof), trustedKeys([publicPem]))).to.include({ seq: 1 })
    await pool.stop()

    const denied = (statement: string) => [statement, '42501']
    for (const login of ['app_login', 'auditor_login']) {
      const client = new pg.Client({ connectionString: url(login) })
      await client.connect()
      expect((await client.query('select c.sha256 from audit.checkpoints c')).rows, login).to.have.lengthOf(1)
      for (const statement of [
        'insert into starcite.checkpoints select * from starcite.checkpoints',
        'update starcite.checkpoints set stored_at = null',
        'delete from starcite.checkpoints',
        'delete from starcite.checkpoint_heads',
        'truncate starcite.checkpoint_moved',
        'delete from audit.checkpoints',
        ...(login === 'auditor_login'
          ? [
              'select from starcite.checkpoints',
              'select from starcite.checkpoint_heads',
              'select from starcite.checkpoint_moved',
            ]
          : []),
      ])
        expect([statement, await client.query(statement).catch((error) => error.code)]).to.deep.equal(
          denied(statement),
        )
      await client.end()
    }
  })

  it('lets a node be that may move nothing: another has to', async () => {
    const node = await startNode({ url: url('app_login') }, { STARCITE_ARCHIVE_FLUSH_INTERVAL_MS: '50' })
    try {
      await call('POST', `${node.url}/v1/sessions`, { id: 'two' })
      expect(
        (await call('POST', at(node.url, 'two', '/append'), { type: 't', payload: {} })).status,
      ).to.equal(201)
      const metrics = (await call('GET', `${node.url}/metrics`)).text
      expect(metrics).to.match(/^starcite_archive_failures_total 0$/m)
    } finally {
      await node.stop()
    }
  })

  it('is migrated by a role that may; another role gets an error', async () => {
    const run = async (env: Record<string, string>) => {
      const child = spawn(process.execPath, MIGRATE, {
        env: { PATH: process.env.PATH, STARCITE_STARTUP_WAIT: '0s', ...env },
      })
      let output = ''
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (chunk: Buffer) => {
          output += chunk
        })
      const [code] = await once(child, 'close')
      return { code, output }
    }
    const before = await run({ DATABASE_URL: url('app_login', 'by_hand') })
    expect(before.code).to.equal(4)
    expect(before.output).to.match(/^starcite: the database user may not create the schema/m)

    const migrated = await run({
      DATABASE_URL: url('app_login', 'by_hand'),
      STARCITE_MIGRATE_URL: url('deploy', 'by_hand'),
    })
    expect(migrated.code, migrated.output).to.equal(0)
    expect(migrated.output).to.match(/^The schema is that of Starcite \d+\.\d+\.\d+\.$/m)
    expect((await run({ DATABASE_URL: url('app_login', 'by_hand') })).code).to.equal(0)
  })

  it('tells a node that finds no schema, or an old one, and may not mend it, what to do', async () => {
    const start = (name: string) =>
      startNode({ url: url('app_login', name) }, { STARCITE_STARTUP_WAIT: '0s' }).then(
        () => undefined,
        (error: Error) => error,
      )
    const refusal = await start('empty')
    expect(refusal).to.be.instanceOf(DatabaseStartError)

    const database = new pg.Client({ connectionString: url('deploy') })
    await database.connect()
    await database.query('set role starcite_owner')
    await database.query('update starcite.installed_objects set number = number - 1')
    await database.query(
      `update starcite.installed_objects set hash = 'old', release = '0.0.0-0' where name = 'append'`,
    )
    const stale = await start('app')
    expect(stale).to.be.instanceOf(DatabaseStartError)
    expect(stale?.message).to.match(/lacks append, .*npm run migrate/)

    await database.query('alter table starcite.slices drop constraint slices_last_hash_is_sha256')
    const damaged = await start('app')
    expect(damaged?.name).to.equal('DamagedSchemaError')
    expect(damaged?.message).to.match(
      /starcite\.slices lacks constraint slices_last_hash_is_sha256.*restore the backup/,
    )
    await database.query(
      'alter table starcite.slices add constraint slices_last_hash_is_sha256 check (octet_length(last_hash) = 32)',
    )

    const node = await startNode({ url: url('app_login') }, { STARCITE_MIGRATE_URL: url('deploy') })
    await node.stop()
    const { rows } = await database.query(
      `select o.release from starcite.installed_objects o where o.name = 'append'`,
    )
    await database.end()
    expect(rows).to.deep.equal([{ release: '0.0.0-test' }])
  })
})
