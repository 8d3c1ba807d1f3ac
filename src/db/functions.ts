import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { ClientBase } from 'pg'

/**
 * The files of sql/, each one object named as the file, in the order in which they stand on one another. `name` is
 * starcite.name, in sql/name.sql; `audit.name` is in sql/audit/name.sql.
 */
export const SQL_OBJECTS = [
  'wire_time',
  'framed',
  'genesis_hash',
  'content_digest',
  'event_fields',
  'event_link',
  'chain_step',
  'chain',
  'comparable',
  'content_key',
  'ensure_segment',
  'create_session',
  'mark_erased',
  'record_session_change',
  'feed_key',
  'place_changes',
  'merge_members',
  'append_events',
  'busy_sessions',
  'append',
  'tiering_status',
  'content_removed',
  'lock_head',
  'erase_session',
  'redact_event',
  'hold_session',
  'release_session',
  'set_retention',
  'sessions_due',
  'segments_due',
  'configure',
  'as_jsonb',
  'readable_tenants',
  'audit.version',
  'audit.sessions',
  'audit.events',
  'audit.producers',
  'audit.segments',
  'audit.slices',
  'audit.changes',
  'audit.verify',
  'audit.events_loaded',
  'audit.checkpoints',
  'grant_roles',
] as const

const SQL_DIRECTORY = new URL('../../sql/', import.meta.url)

/** Where the statement stands that makes the object of this name in SQL_OBJECTS. */
export function sqlFile(name: string): URL {
  return new URL(`${name.replace('.', '/')}.sql`, SQL_DIRECTORY)
}

/** Whether release `a` is older than `b`, both `major.minor.patch`. */
export function isOlder(a: string, b: string): boolean {
  const [left, right] = [a, b].map((it) => it.split(/[.-]/).slice(0, 3).map(Number))
  for (let i = 0; i < 3; i += 1) {
    const difference = (left?.[i] ?? 0) - (right?.[i] ?? 0)
    if (difference !== 0) return difference < 0
  }
  return false
}

/**
 * Installs functions and views that are not, or not in this form, in the database. Their signatures never change, so
 * replacing a body under running nodes is safe. What a newer release installed is left alone: otherwise two releases
 * that run side by side during a deploy would overwrite each other at every start.
 *
 * Runs inside the caller's transaction. Answers what it installed.
 */
export async function installFunctions(client: ClientBase, release: string): Promise<string[]> {
  const stale = await staleFunctions(client, release)
  for (const { name, text, hash } of stale) {
    await client.query(text)
    await client.query(
      `insert into starcite.installed_objects as o (name, hash, release) values ($1, $2, $3)
       on conflict (name) do update set hash = excluded.hash, release = excluded.release`,
      [name, hash, release],
    )
  }
  if (stale.length > 0) {
    // Postgres grants EXECUTE to everyone at creation; the log is for those to whom its owner grants it.
    await client.query('revoke all on all functions in schema starcite, audit from public')
    await client.query('select starcite.grant_roles()')
  }
  return stale.map(({ name }) => name)
}

interface SqlObject {
  readonly name: string
  readonly text: string
  readonly hash: string
}

/** What is not, or not in this form, in the database, and not of a newer release either. */
export async function staleFunctions(client: ClientBase, release: string): Promise<SqlObject[]> {
  const { rows } = await client.query<{ name: string; hash: string; release: string }>(
    'select o.name, o.hash, o.release from starcite.installed_objects o',
  )
  const installed = new Map(rows.map((row) => [row.name, row]))
  const stale: SqlObject[] = []
  for (const name of SQL_OBJECTS) {
    const text = await readFile(sqlFile(name), 'utf8')
    const hash = createHash('sha256').update(text).digest('hex')
    const present = installed.get(name)
    if (present?.hash !== hash && !(present && isOlder(release, present.release)))
      stale.push({ name, text, hash })
  }
  return stale
}
