import { readdir } from 'node:fs/promises'
import type pg from 'pg'
import { compareInstalled } from '../../db/install.ts'
import { readInstallation } from '../../db/installation.ts'
import { missingTables, tableDamage } from '../../db/migrate.ts'
import { examineSharing, type Sharing } from '../../db/sharing.ts'
import { RESTORE_COMPLETELY } from '../../db/tables.ts'
import { createLog } from '../../ops/log.ts'
import { maskUrl } from '../maskSecrets.ts'
import { type Checks, type Finding, failed, ok, warning } from './check.ts'
import {
  connect,
  describeNamespaces,
  describeSchema,
  describeServer,
  type Namespaces,
  notifyTakes,
  type Server,
} from './queries.ts'

const MINIMUM_VERSION = 140_000
const MAX_SKEW_MS = 1000

/** Checks Postgres by the URL of a node's pool and the direct one, for LISTEN and migrations. Often they are the same. */
export async function* checkPostgres(url: string, directUrl: string, connections: number): Checks {
  const clients: pg.Client[] = []
  const open = async (at: string) => {
    const client = await connect(at)
    clients.push(client)
    return client
  }
  try {
    const client = await open(url).catch((error: Error) => error)
    if (client instanceof Error) {
      yield failed(
        'postgres',
        `${maskUrl(url)}: ${client.message || client.name}`,
        'Check host, port, user, password and database in DATABASE_URL, and that the server is up.',
      )
      return
    }
    const server = await describeServer(client)
    yield reachable(server)
    yield durability(server)
    yield clock(server)
    yield budget(server, connections)
    const sharing = await examineSharing(url, createLog('silent'))
    const isPooled = server.pid !== server.handshakePid
    yield pooler(isPooled, sharing, directUrl !== url)
    const direct = await open(directUrl).catch((error: Error) => error)
    if (direct instanceof Error) yield failed('listen', direct, 'Check STARCITE_LISTEN_URL.')
    else yield await listen(direct, client, sharing.sharesSessions && directUrl === url)
    yield namespaces(await describeNamespaces(client))
    yield await schema(client)
  } finally {
    await Promise.all(clients.map((it) => it.end().catch(() => {})))
  }
}

function reachable({ version, versionNumber, user, database, roundTripMs, isReplica }: Server): Finding {
  const what = `Postgres ${version}, database ${database}, user ${user}, ${roundTripMs.toFixed(1)} ms away`
  if (versionNumber < MINIMUM_VERSION) return failed('postgres', what, 'Starcite needs Postgres 14 or newer.')
  if (isReplica)
    return failed('postgres', `${what}: a replica`, 'Nodes write: give them the URL of the primary.')
  return ok('postgres', what)
}

function durability({ fsync, synchronousCommit, fullPageWrites }: Server): Finding {
  const settings = `fsync ${fsync}, synchronous_commit ${synchronousCommit}, full_page_writes ${fullPageWrites}`
  if (fsync === 'on' && fullPageWrites === 'on' && synchronousCommit !== 'off')
    return ok('durability', settings)
  return warning(
    'durability',
    settings,
    'A crash of the server may lose acknowledged events. Turn these settings on.',
  )
}

function clock({ skewMs, uncertaintyMs }: Server): Finding {
  const what = `Postgres is ${Math.abs(skewMs).toFixed(0)} ms ${skewMs < 0 ? 'behind' : 'ahead of'} this machine (± ${uncertaintyMs.toFixed(1)})`
  if (Math.abs(skewMs) - uncertaintyMs <= MAX_SKEW_MS) return ok('clock', what)
  return warning(
    'clock',
    what,
    'The expiry of tokens and the delivery lag depend on both clocks: run NTP on both machines.',
  )
}

function budget({ maxConnections }: Server, connections: number): Finding {
  const what = `a node takes up to ${connections} of the server's ${maxConnections} connections`
  if (connections <= maxConnections / 2) return ok('connections', what)
  return warning(
    'connections',
    what,
    'Several nodes will not fit: lower DB_POOL_SIZE, or raise max_connections.',
  )
}

function pooler(
  isPooled: boolean,
  { sharesSessions, keepsStatements }: Sharing,
  hasDirectUrl: boolean,
): Finding {
  if (!isPooled && !sharesSessions) return ok('pooler', 'there is none between this machine and Postgres')
  if (!sharesSessions) return ok('pooler', 'DATABASE_URL leads through one in session mode')
  if (!hasDirectUrl)
    return failed(
      'pooler',
      'DATABASE_URL leads through one in transaction mode',
      'Set STARCITE_LISTEN_URL to a direct connection: LISTEN and the jobs need a session of their own.',
    )
  if (!keepsStatements)
    return warning(
      'pooler',
      'DATABASE_URL leads through one that does not keep prepared statements',
      'Set STARCITE_PREPARED_STATEMENTS=false, or the max_prepared_statements of PgBouncer 1.21 or newer.',
    )
  return ok('pooler', 'DATABASE_URL leads through one; STARCITE_LISTEN_URL is there beside it')
}

async function listen(listener: pg.Client, notifier: pg.Client, isPooled: boolean): Promise<Finding> {
  try {
    return ok('listen', `a notification took ${(await notifyTakes(listener, notifier)).toFixed(1)} ms`)
  } catch (error) {
    const hint = isPooled
      ? 'The pooler does not keep sessions: set STARCITE_LISTEN_URL to a direct connection.'
      : 'Without notifications tails lag by STARCITE_POLL_INTERVAL. Both URLs must lead to the same primary.'
    return failed('listen', error, hint)
  }
}

/** Checks whether other users can create objects that shadow names in SQL sessions. Nodes look into the catalog alone. */
export function namespaces({ path, isCatalogFirst, isPublicOpen }: Namespaces): Finding {
  if (isPublicOpen)
    return warning(
      'search_path',
      'every login may create objects in the schema public',
      'Nodes never look there; SQL sessions do: revoke create on schema public from public (docs/security.md).',
    )
  if (!isCatalogFirst)
    return warning(
      'search_path',
      `the search_path of this login, ${path}, puts other schemas before pg_catalog`,
      'Nodes set their own; for SQL sessions, take pg_catalog out of it (docs/security.md).',
    )
  return ok('search_path', 'only owners create objects in the schema public')
}

async function schema(client: pg.Client): Promise<Finding> {
  const { migrations, mayCreate, missing } = await describeSchema(client)
  const files = await readdir(new URL('../../../migrations/', import.meta.url))
  const known = files.filter((it) => it.endsWith('.sql')).map((it) => it.slice(0, -'.sql'.length))
  if (migrations === undefined) {
    if (!mayCreate)
      return failed(
        'schema',
        'there is none, and this user may not create one',
        'Set STARCITE_MIGRATE_URL to a login that may, and run `starcite migrate` (docs/security.md).',
      )
    return warning('schema', 'there is none yet', 'The first node creates it, or `starcite migrate`.')
  }
  if (missing.length > 0)
    return failed(
      'schema',
      `this user lacks ${missing.join('; ')}`,
      'Make the user of DATABASE_URL a member of starcite_app (docs/security.md).',
    )
  const unknown = migrations.filter((it) => !known.includes(it))
  if (unknown.length > 0)
    return failed(
      'schema',
      `it is newer than this release: ${unknown.join(', ')}`,
      'Run the release that migrated it.',
    )
  const damage = await tableDamage(client)
  if (damage.length > 0)
    return failed(
      'schema',
      `tables are not as migrations left them: ${damage.join('; ')}`,
      `${RESTORE_COMPLETELY}.`,
    )
  const due = known.filter((it) => !migrations.includes(it))
  if (due.length > 0)
    return warning(
      'schema',
      `${due.join(', ')} not applied yet`,
      'The next node to start does it, or `starcite migrate`.',
    )
  return installed(client, migrations.length)
}

/** Compares the catalog itself, not the record of the installation, with this build. */
async function installed(client: pg.Client, migrations: number): Promise<Finding> {
  const tables = await missingTables(client)
  if (tables.length > 0)
    return failed(
      'schema',
      `tables are missing: ${tables.join(', ')}`,
      'Restore them from a backup (docs/deployment.md, "Backups").',
    )
  const installation = await readInstallation()
  try {
    const comparison = await compareInstalled(client, installation)
    const names = 'objects' in comparison ? comparison.objects.map(({ name }) => name).join(', ') : ''
    if (comparison.is === 'damaged' && comparison.reworded.length === comparison.objects.length)
      return warning(
        'schema',
        `the catalog words these differently than when they were installed: ${names}`,
        'Run `starcite migrate`, which installs them again. If it comes back without an upgrade of Postgres, a user alters them.',
      )
    if (comparison.is === 'damaged')
      return failed(
        'schema',
        `missing, or altered since it was installed: ${names}`,
        'Run `starcite migrate`, which installs them again.',
      )
    if (comparison.is === 'older')
      return warning(
        'schema',
        `not of this build yet: ${names}`,
        'The next node to start does it, or `starcite migrate`.',
      )
    const number =
      comparison.is === 'newer'
        ? `procedures of a newer build, number ${comparison.number}`
        : `number ${installation.number}`
    return ok('schema', `up to date, ${migrations} migrations, ${number}`)
  } catch (error) {
    return failed('schema', error, 'docs/deployment.md, "Upgrades", says which build to run.')
  }
}
