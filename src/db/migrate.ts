import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import pg, { type ClientBase } from 'pg'
import { pause } from '../lib/backoff.ts'
import type { Log } from '../ops/log.ts'
import { compareInstalled, DamagedSchemaError, installFunctions } from './install.ts'
import { type Installation, readInstallation } from './installation.ts'
import { findHolder, inMigrationTurn } from './migrationTurn.ts'
import { becomeOwner, ensureRoles, restoreGrants } from './roles.ts'
import { inPinnedTransaction, pinTransaction } from './searchPath.ts'
import { damagedTables, isWordedOtherwise, noteTables, RESTORE_COMPLETELY } from './tables.ts'

const MIGRATIONS_DIRECTORY = new URL('../../migrations/', import.meta.url)
const MIGRATIONS_TABLE = 'migrations'
/** A host that accepts the connection and does not answer counts as unavailable. */
const CONNECT_TIMEOUT_MS = 10_000
const LOOK_MS = 100
/** Postgres 14: `return` bodies of SQL functions, date_bin. */
const MINIMUM_SERVER_VERSION = 140_000

/** A newer release than this one has migrated the database. */
export class SchemaTooNewError extends Error {
  override readonly name = 'SchemaTooNewError'
}

/** The server is older than Postgres 14. */
class ServerTooOldError extends Error {
  override readonly name = 'ServerTooOldError'
}

/** The schema is not of this release, and this connection may not migrate it. */
export class NotMigratedError extends Error {
  override readonly name = 'NotMigratedError'
}

/**
 * Brings the schema to this release: tables from migrations/, functions and views from sql/, in one transaction. Any
 * number of nodes may call it at once; they take turns (migrationTurn.ts), and later ones find nothing to do. A role
 * that does not own the schema only checks whether it is of this release; it rejects with a NotMigratedError when it
 * is not and no other program is migrating it.
 */
export async function migrate(
  url: string,
  release: string,
  log: Log,
  installation?: Installation,
): Promise<void> {
  const ours = installation ?? (await readInstallation())
  const client = new pg.Client({
    connectionString: url,
    application_name: 'starcite migrate',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
  })
  client.on('error', (error) => log.warn({ err: error }, 'the migration connection broke'))
  await client.connect()
  try {
    await inPinnedTransaction(client, async () => {
      await assertServerVersion(client)
      await ensureRoles(client)
    })
    const done = await inMigrationTurn(
      client,
      log,
      () => becomeOwner(client),
      async (isOwner) => {
        await assertSchemaIsNotNewer(client)
        return isOwner ? bringUpToDate(client, ours, release, log) : undefined
      },
    )
    if (done === undefined) await assertSchemaIsNotOlder(client, ours, log)
    else if (done.newer !== undefined)
      log.info(
        { installed: done.newer, ours: ours.number },
        'installed SQL is of a newer build: leaving it as it is',
      )
    if (done && done.migrations.length + done.functions.length > 0)
      log.info({ migrations: done.migrations, functions: done.functions }, 'schema is up to date')
  } finally {
    await client.end().catch(ignore)
  }
}

/** Runs in the transaction of the caller. Returns what it did. */
async function bringUpToDate(client: pg.Client, ours: Installation, release: string, log: Log) {
  await assertTablesAreUnchanged(client) // before migrations alter them, and they are recorded again
  const applied = await applyMigrations(client, log)
  await assertTablesExist(client)
  await pinTransaction(client) // the runner leaves its own search path
  if (applied.length > 0 || (await isWordedOtherwise(client))) await noteTables(client, await ownTables())
  const comparison = await compareInstalled(client, ours)
  const functions =
    comparison.is === 'older' || comparison.is === 'damaged'
      ? await installFunctions(client, ours, comparison.objects, release)
      : []
  if (comparison.is === 'damaged')
    log.warn({ objects: functions }, 'schema objects were missing or altered: installed again')
  if (await restoreGrants(client)) log.info('granted missing privileges to the roles of Starcite')
  const newer = comparison.is === 'newer' ? comparison.number : undefined
  return { migrations: applied, functions, newer }
}

/** Runs the migrations that are pending, in the transaction of the caller. Returns their names. */
async function applyMigrations(client: pg.Client, log: Log): Promise<string[]> {
  const before = await appliedMigrations(client)
  if ((await knownMigrations()).every((name) => before.includes(name))) return []
  const { runner } = await import('node-pg-migrate') // most starts have nothing to migrate, and do not load it
  const applied = await runner({
    dbClient: insideTransaction(client),
    dir: fileURLToPath(MIGRATIONS_DIRECTORY),
    direction: 'up',
    migrationsSchema: 'starcite',
    migrationsTable: MIGRATIONS_TABLE,
    schema: 'starcite',
    singleTransaction: true,
    noLock: true, // this program holds a lock, which covers the functions too
    verbose: false,
    logger: {
      debug: ignore,
      info: ignore,
      warn: (message) => log.warn(message),
      error: (message) => log.error(message),
    },
  })
  return applied.map(({ name }) => name)
}

/** A client for the migration runner, which would begin and end a transaction, and change settings of the session. */
function insideTransaction(client: pg.Client): pg.Client {
  const query = (text: unknown, values?: unknown[]) => {
    if (typeof text !== 'string') throw new TypeError('migrations are texts')
    if (/^(BEGIN|COMMIT|ROLLBACK)$/.test(text)) return Promise.resolve({ rows: [] })
    return client.query(text.replace(/^SET (?!LOCAL )/, 'SET LOCAL '), values)
  }
  return { query } as unknown as pg.Client
}

const ignore = () => {}

/** The name of the newest migration of this release. */
export async function newestMigration(): Promise<string> {
  return (await knownMigrations()).at(-1) ?? 'none'
}

async function assertServerVersion(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ number: number; words: string }>(
    `select current_setting('server_version_num')::int as number, current_setting('server_version') as words`,
  )
  const version = rows[0]
  if (version && version.number < MINIMUM_SERVER_VERSION)
    throw new ServerTooOldError(
      `the database server is Postgres ${version.words}; Starcite needs 14 or newer`,
    )
}

/** The applied migrations, in order. */
async function knownMigrations(): Promise<string[]> {
  const files = await readdir(MIGRATIONS_DIRECTORY)
  return files
    .filter((it) => it.endsWith('.sql'))
    .map((it) => it.slice(0, -'.sql'.length))
    .sort()
}

/** The tables that the migrations of this build create. */
async function ownTables(): Promise<string[]> {
  const tables = new Set<string>()
  for (const name of await knownMigrations()) {
    const text = await readFile(new URL(`${name}.sql`, MIGRATIONS_DIRECTORY), 'utf8')
    for (const [, verb, table = ''] of text.matchAll(
      /^(create|drop)(?: unlogged)? table (?:if (?:not )?exists )?(starcite\.\w+)/gim,
    ))
      if (verb?.toLowerCase() === 'create') tables.add(table)
      else tables.delete(table)
  }
  return [...tables]
}

/** The tables that the migrations of this build create, and that no longer exist. */
export async function missingTables(client: ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    'select t.name from unnest($1::text[]) as t (name) where to_regclass(t.name) is null',
    [await ownTables()],
  )
  return rows.map((row) => row.name)
}

/** Describes how tables differ from what migrations left; the likely cause is an incomplete restore. */
export async function tableDamage(client: ClientBase): Promise<string[]> {
  const damage = await damagedTables(client)
  if (damage.length > 0 || (await appliedMigrations(client)).length > 0) return damage
  const missing = await missingTables(client)
  const there = (await ownTables()).filter((it) => !missing.includes(it))
  return there.length === 0 ? [] : [`starcite.${MIGRATIONS_TABLE} has no row, and ${there[0]} is there`]
}

async function assertTablesAreUnchanged(client: pg.Client): Promise<void> {
  const damage = await tableDamage(client)
  if (damage.length > 0)
    throw new DamagedSchemaError(
      `the tables are not as migrations left them: ${damage.join('; ')}. ${RESTORE_COMPLETELY}`,
    )
}

async function assertTablesExist(client: pg.Client): Promise<void> {
  const missing = await missingTables(client)
  if (missing.length > 0)
    throw new DamagedSchemaError(
      `tables are missing that migrations have made: ${missing.join(', ')}. They cannot be recreated with their data: restore ` +
        'them from a backup (docs/deployment.md, "Backups")',
    )
}

async function appliedMigrations(client: ClientBase): Promise<string[]> {
  const { rows: tables } = await client.query(
    `select from pg_catalog.pg_tables t where t.schemaname = 'starcite' and t.tablename = $1`,
    [MIGRATIONS_TABLE],
  )
  if (tables.length === 0) return []
  const { rows } = await client.query<{ name: string }>(`select m.name from starcite.${MIGRATIONS_TABLE} m`)
  return rows.map((row) => row.name)
}

async function assertSchemaIsNotNewer(client: pg.Client): Promise<void> {
  const known = new Set(await knownMigrations())
  const unknown = (await appliedMigrations(client)).filter((name) => !known.has(name))
  if (unknown.length > 0)
    throw new SchemaTooNewError(
      `the database was migrated by a newer release of Starcite (it has ${unknown.join(', ')}); ` +
        'run that release, or point DATABASE_URL at another database',
    )
}

/** A migration in progress, which is not committed yet, may be all that is missing. */
async function assertSchemaIsNotOlder(
  client: pg.Client,
  installation: Installation,
  log: Log,
): Promise<void> {
  let logged: string | undefined
  for (;;) {
    const { holder, missing, reworded } = await inPinnedTransaction(client, async () => ({
      holder: await findHolder(client), // before the check, so that what it commits afterwards is seen
      ...(await missingFrom(client, installation)),
    }))
    if (missing.length === 0) {
      if (reworded.length > 0)
        log.warn(
          { objects: reworded },
          'catalog wording of definitions has changed since they were installed: `starcite migrate` installs them again',
        )
      return
    }
    if (holder === undefined) throw notMigrated(missing)
    if (holder !== logged) log.info({ holder }, `waiting for ${holder}, which migrates the schema`)
    logged = holder
    await pause(LOOK_MS)
  }
}

/** The names of what this build needs and the schema lacks, and of what the catalog only words differently. */
async function missingFrom(
  client: pg.Client,
  installation: Installation,
): Promise<{ readonly missing: readonly string[]; readonly reworded: readonly string[] }> {
  const applied = new Set(await appliedMigrations(client))
  const missing = (await knownMigrations()).filter((name) => !applied.has(name))
  if (missing.length > 0) return { missing, reworded: [] }
  await assertTablesAreUnchanged(client)
  await assertTablesExist(client)
  const comparison = await compareInstalled(client, installation)
  if (!('objects' in comparison)) return { missing: [], reworded: [] }
  const { objects, reworded } = comparison
  return {
    missing: objects.filter((it) => !reworded.includes(it)).map(({ name }) => name),
    reworded: reworded.map(({ name }) => name),
  }
}

function notMigrated(missing: readonly string[]): NotMigratedError {
  return new NotMigratedError(
    `the schema lacks ${missing.join(', ')}, and this database user does not own it: run \`npm run migrate\` as one ` +
      'who does, or set STARCITE_MIGRATE_URL',
  )
}
