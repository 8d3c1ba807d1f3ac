import type { ClientBase } from 'pg'
import type { Installation, SqlObject } from './installation.ts'

/** How what the database has compares with what a build would install. */
export type Comparison =
  | { readonly is: 'same' }
  /** The database has what an older build installed, or nothing; `objects` are not, or not in this form, in it. */
  | { readonly is: 'older'; readonly objects: readonly SqlObject[] }
  | { readonly is: 'newer'; readonly number: number }

/** Another build has installed another content under the same number. */
export class InstallationConflictError extends Error {
  override readonly name = 'InstallationConflictError'
}

/**
 * Compares by number. Rejects with an InstallationConflictError where the numbers are equal and the contents are not: of
 * two such builds neither is newer, so the one that came first stays, and the other refuses to run on it.
 */
export async function compareInstalled(
  client: ClientBase,
  { number, objects }: Installation,
): Promise<Comparison> {
  const { rows } = await client.query<{ name: string; hash: string; number: string }>(
    'select o.name, o.hash, o.number from starcite.installed_objects o',
  )
  const installed = Math.max(-1, ...rows.map((row) => Number(row.number)))
  if (installed > number) return { is: 'newer', number: installed }
  const hashes = new Map(rows.map((row) => [row.name, row.hash]))
  const stale = objects.filter(({ name, hash }) => hashes.get(name) !== hash)
  if (installed < number) return { is: 'older', objects: stale }
  if (stale.length === 0) return { is: 'same' }
  throw new InstallationConflictError(
    `this build and the one that installed the procedures of this database have the same number, ${number} ` +
      `(sql/installation.json), and differ in ${stale.map(({ name }) => name).join(', ')}. Neither is newer, so nothing ` +
      'was replaced: merge the two, run `npm run sql:stamp`, which raises the number, and start that build',
  )
}

/**
 * Installs `stale`, which is what compareInstalled found that the database does not have in this form. Signatures never
 * change, so replacing a body under running nodes is safe. What a build with a higher number installed is left alone:
 * otherwise two builds that run side by side during a deploy would overwrite each other at every start.
 *
 * Runs inside the caller's transaction. Answers what it installed.
 */
export async function installFunctions(
  client: ClientBase,
  installation: Installation,
  stale: readonly SqlObject[],
  release: string,
): Promise<string[]> {
  for (const { name, text, hash } of stale) {
    await client.query(text)
    await client.query(
      `insert into starcite.installed_objects as o (name, hash, release) values ($1, $2, $3)
       on conflict (name) do update set hash = excluded.hash`,
      [name, hash, release],
    )
  }
  await client.query(
    'update starcite.installed_objects o set number = $1, release = $2 where o.name = any ($3::text[])',
    [installation.number, release, installation.objects.map(({ name }) => name)],
  )
  if (stale.length > 0) {
    // Postgres grants EXECUTE to everyone at creation; the log is for those to whom its owner grants it.
    await client.query('revoke all on all functions in schema starcite, audit from public')
    await client.query('select starcite.grant_roles()')
  }
  return stale.map(({ name }) => name)
}
