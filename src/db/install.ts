import type { ClientBase } from 'pg'
import { compareFingerprints, fingerprintsOf, noteFingerprints } from './fingerprints.ts'
import type { Installation, SqlObject } from './installation.ts'

/** How the database compares with what a build would install. */
export type Comparison =
  | { readonly is: 'same' }
  /** Of the same build, but some objects are missing from the catalog, or were altered there. */
  | ({ readonly is: 'damaged' } & Differing)
  /** The database has what an older build installed, or nothing; `objects` are missing, or outdated. */
  | ({ readonly is: 'older' } & Differing)
  | { readonly is: 'newer'; readonly number: number }

interface Differing {
  readonly objects: readonly SqlObject[]
  /** Those of them that may be intact: only the catalog's wording of a definition differs. */
  readonly reworded: readonly SqlObject[]
}

/** Another build has installed different content under the same number. */
export class InstallationConflictError extends Error {
  override readonly name = 'InstallationConflictError'
}

/** The schema lacks something that it had, and this build cannot restore it. */
export class DamagedSchemaError extends Error {
  override readonly name = 'DamagedSchemaError'
}

/**
 * Compares by number, and checks whether what was installed still exists: a dump of one schema, say, restores the
 * record and not what was installed in the other. Rejects with an InstallationConflictError when the numbers are
 * equal and the contents are not: neither of two such builds is newer, so the first one stays, and the other refuses
 * to run on it.
 */
export async function compareInstalled(
  client: ClientBase,
  { number, objects }: Installation,
): Promise<Comparison> {
  const { rows } = await client.query<{
    name: string
    hash: string
    number: string
    fingerprint: string | null
  }>('select o.name, o.hash, o.number, o.fingerprint from starcite.installed_objects o')
  const noted = new Map(rows.map((row) => [row.name, row]))
  const found = await fingerprintsOf(
    client,
    objects.map(({ name }) => name),
  )
  const states = new Map(
    objects.map(({ name }) => [name, compareFingerprints(noted.get(name)?.fingerprint, found.get(name))]),
  )
  const damaged = objects.filter(({ name }) => states.get(name) !== 'same')
  const installed = Math.max(-1, ...rows.map((row) => Number(row.number)))
  if (installed > number) {
    const missing = damaged.filter(({ name }) => !found.has(name))
    if (missing.length === 0) return { is: 'newer', number: installed }
    throw new DamagedSchemaError(
      `the schema lacks ${missing.map(({ name }) => name).join(', ')}, which a newer build (number ${installed}, this one is ` +
        `${number}) installed: run that build's \`starcite migrate\``,
    )
  }
  const stale = objects.filter(({ name, hash }) => noted.get(name)?.hash !== hash)
  const differing = objects.filter((it) => stale.includes(it) || damaged.includes(it))
  const reworded = differing.filter((it) => !stale.includes(it) && states.get(it.name) === 'reworded')
  if (installed < number) return { is: 'older', objects: differing, reworded }
  if (stale.length === 0)
    return damaged.length === 0 ? { is: 'same' } : { is: 'damaged', objects: damaged, reworded }
  throw new InstallationConflictError(
    `this build and the one that installed the procedures of this database have the same number, ${number} ` +
      `(sql/installation.json), and differ in ${stale.map(({ name }) => name).join(', ')}. Neither is newer, so nothing ` +
      'was replaced: merge the two, run `npm run sql:stamp`, which raises the number, and start that build',
  )
}

/**
 * Installs `stale`, which compareInstalled has found missing or outdated. Signatures never change, so replacing a
 * body under running nodes is safe. What a build with a higher number has installed stays: otherwise two builds that
 * run side by side during a deploy would overwrite each other at every start.
 *
 * Runs in the caller's transaction. Returns what it installed.
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
    // Postgres grants EXECUTE to everyone when a function is created; only roles to which the owner grants it may use
    // the log.
    await client.query('revoke all on all functions in schema starcite, audit from public')
    await client.query('select starcite.grant_roles()')
  }
  await noteFingerprints(
    client,
    installation.objects.map(({ name }) => name),
  )
  return stale.map(({ name }) => name)
}
