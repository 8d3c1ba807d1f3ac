import { countScope } from '../audit/read/queries.ts'
import { loadConfig } from '../config.ts'
import { DatabaseStartError } from '../db/database.ts'
import type { Db } from '../db/pool.ts'
import { StopStack } from '../lib/stopStack.ts'
import type { ObjectStore } from '../objects/objectStore.ts'
import { openObjectStore } from '../objects/open.ts'
import { createLog } from '../ops/log.ts'
import { openExisting } from './database.ts'
import { interruption } from './interruption.ts'

/** Longer than the time-out of a node: these statements read more, and no client waits for them. */
const TIMEOUT_MS = 120_000
/** SQLSTATEs of a schema that is not of this release: undefined table, column, function, schema. */
const UNDEFINED_OBJECT = /^(42P01|42703|42883|3F000)$/

export interface Sources {
  readonly db: Db
  /** With the role that owns the tables, where nodes use another one. */
  readonly ownerDb: Db
  readonly store: ObjectStore
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal
}

/** Opens the database and the object store of a node with this environment, for as long as `use` runs. Migrates nothing. */
export async function withSources<T>(use: (sources: Sources) => Promise<T>): Promise<T> {
  const config = loadConfig(process.env)
  const stack = new StopStack()
  const signal = interruption()
  try {
    const timeoutMs = Math.max(config.database.timeoutMs, TIMEOUT_MS)
    const database = stack.add(
      'database',
      await openExisting({ ...config.database, timeoutMs }, createLog('error')),
    )
    const store = stack.add('object store', await openObjectStore(config.archive, database.reads))
    return await use({ db: database.reads, ownerDb: database.moves, store, signal })
  } catch (error) {
    throw explainSchemaError(error)
  } finally {
    await stack.stop()
  }
}

/**
 * Checks that a tenant or session which the command line names exists: an empty result would look like a good one. Rejects
 * with `session_not_found` or `tenant_not_found`.
 */
export async function requireScope(
  db: Db,
  { tenant, session }: { readonly tenant?: string; readonly session?: string },
): Promise<void> {
  if (tenant === undefined && session === undefined) return
  const scope = { ...(tenant !== undefined && { tenant }), ...(session !== undefined && { session }) }
  const { sessions } = await countScope(db, scope)
  if (sessions > 0) return
  const owner = tenant === undefined ? 'no tenant' : `tenant ${JSON.stringify(tenant)}`
  throw new Error(
    session === undefined
      ? `tenant_not_found: ${owner} has no session; --tenant names a tenant, --all selects every tenant`
      : `session_not_found: ${owner} has no session ${JSON.stringify(session)}; --tenant names its tenant`,
  )
}

/** A DatabaseStartError that says what to do, when the schema is not of this release; any other error as it is. */
export function explainSchemaError(error: unknown): unknown {
  const { code = '', message } = error as Error & { code?: string }
  if (!UNDEFINED_OBJECT.test(code)) return error
  return new DatabaseStartError(`the schema is not of this release (${message}); run \`starcite migrate\``, {
    cause: error,
  })
}
