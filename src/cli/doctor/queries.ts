import type pg from 'pg'
import { PinnedClient } from '../../db/searchPath.ts'

const CONNECT_TIMEOUT_MS = 5000
const NOTIFY_TIMEOUT_MS = 3000

export interface Server {
  readonly version: string
  readonly versionNumber: number
  readonly user: string
  readonly database: string
  /** The server process of this session, by a query and by the handshake. They differ behind a pooler. */
  readonly pid: number
  readonly handshakePid: number
  readonly fsync: string
  readonly synchronousCommit: string
  readonly fullPageWrites: string
  readonly isReplica: boolean
  readonly maxConnections: number
  /** Milliseconds that the server's clock is ahead of this machine's, and their uncertainty. */
  readonly skewMs: number
  readonly uncertaintyMs: number
  readonly roundTripMs: number
}

export interface Schema {
  /** Names of the migrations that ran; undefined: there is no schema yet. */
  readonly migrations: readonly string[] | undefined
  readonly mayCreate: boolean
  /** Rights of a node that this user lacks. */
  readonly missing: readonly string[]
}

export async function connect(url: string): Promise<pg.Client> {
  const client = new PinnedClient({
    connectionString: url,
    application_name: 'starcite doctor',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: CONNECT_TIMEOUT_MS,
  })
  client.on('error', () => {}) // the running query rejects with the error
  await client.connect()
  await client.pin(CONNECT_TIMEOUT_MS)
  return client
}

export async function describeServer(client: pg.Client): Promise<Server> {
  const { processID } = client as unknown as { processID: number }
  await client.query('select 1') // the first statement of a session is slower, and would blur the clock
  const sentAt = performance.now()
  const sent = Date.now()
  const { rows } = await client.query(
    `select current_setting('server_version') as version, current_setting('server_version_num')::int as "versionNumber",
            current_user as "user", current_database() as database, pg_backend_pid() as pid,
            current_setting('fsync') as fsync, current_setting('synchronous_commit') as "synchronousCommit",
            current_setting('full_page_writes') as "fullPageWrites", pg_is_in_recovery() as "isReplica",
            current_setting('max_connections')::int as "maxConnections",
            extract(epoch from clock_timestamp())::float8 * 1000 as now`,
  )
  const roundTripMs = performance.now() - sentAt
  const { now, ...server } = rows[0]
  return {
    ...server,
    handshakePid: processID,
    skewMs: now - (sent + roundTripMs / 2),
    uncertaintyMs: roundTripMs / 2,
    roundTripMs,
  }
}

/** The tables that nodes read, and the procedures that they call to write (docs/security.md). */
const READS = ['sessions', 'session_heads', 'events', 'segments', 'objects', 'slices', 'settings']
const CALLS = ['append_events', 'create_session', 'ensure_segment']

export async function describeSchema(client: pg.Client): Promise<Schema> {
  const { rows } = await client.query(
    `select to_regclass('starcite.migrations') is not null as "isThere",
            has_database_privilege(current_database(), 'create') as "mayCreate",
            coalesce((select has_schema_privilege(n.oid, 'usage') from pg_catalog.pg_namespace n where n.nspname = 'starcite'),
                     false) as "mayUse"`,
  )
  const { isThere, mayCreate, mayUse } = rows[0]
  if (!isThere) return { migrations: undefined, mayCreate, missing: [] }
  if (!mayUse) return { migrations: [], mayCreate, missing: ['usage of the schema starcite'] }
  const { rows: rights } = await client.query(
    `select 'select on starcite.' || t.name as missing from unnest($1::text[]) as t (name)
      where not coalesce(has_table_privilege(to_regclass('starcite.' || t.name), 'select'), true)
      union all
     select 'execute of starcite.' || p.proname from pg_catalog.pg_proc p
      where p.pronamespace = 'starcite'::regnamespace and p.proname = any($2::text[])
        and not has_function_privilege(p.oid, 'execute')
      union all
     select 'select on starcite.migrations' where not has_table_privilege('starcite.migrations', 'select')
      order by 1`,
    [READS, CALLS],
  )
  const missing = rights.map((it) => it.missing)
  if (missing.includes('select on starcite.migrations')) return { migrations: [], mayCreate, missing }
  const { rows: done } = await client.query('select m.name from starcite.migrations m order by m.name')
  return { migrations: done.map((row) => row.name), mayCreate, missing }
}

export interface Namespaces {
  /** The search_path of a new connection of this login. */
  readonly path: string
  readonly isCatalogFirst: boolean
  readonly isPublicOpen: boolean
}

export async function describeNamespaces(client: pg.Client): Promise<Namespaces> {
  const { rows } = await client.query<Namespaces>(
    `select s.reset_val as path, coalesce(array_position(p.names, 'pg_catalog'), 1) = 1 as "isCatalogFirst",
            exists (select from pg_catalog.pg_namespace n
                     cross join lateral aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
                     where n.nspname = 'public' and a.grantee = 0 and a.privilege_type = 'CREATE') as "isPublicOpen"
       from pg_catalog.pg_settings s
      cross join lateral (select regexp_split_to_array(replace(s.reset_val, '"', ''), '\\s*,\\s*') as names) p
      where s.name = 'search_path'`,
  )
  return rows[0] ?? { path: '', isCatalogFirst: true, isPublicOpen: false }
}

/** Milliseconds from a NOTIFY on one connection to its arrival on the other. Rejects when it does not come in time. */
export async function notifyTakes(listener: pg.Client, notifier: pg.Client): Promise<number> {
  const channel = `starcite_doctor_${process.pid}`
  const arrived = new Promise<void>((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`a notification did not arrive within ${NOTIFY_TIMEOUT_MS / 1000} s`)),
      NOTIFY_TIMEOUT_MS,
    )
    listener.on('notification', (message) => {
      if (message.channel !== channel) return
      clearTimeout(timer)
      resolve()
    })
  })
  arrived.catch(() => {}) // in case a statement before it fails first
  await listener.query(`listen ${channel}`)
  const started = performance.now()
  await notifier.query('select pg_notify($1, $2)', [channel, 'probe'])
  await arrived
  return performance.now() - started
}
