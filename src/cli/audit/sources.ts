import { countScope } from '../../audit/read/queries.ts'
import { loadConfig } from '../../config.ts'
import { DatabaseStartError } from '../../db/database.ts'
import type { Db } from '../../db/pool.ts'
import { StopStack } from '../../lib/stopStack.ts'
import type { ObjectStore } from '../../objects/objectStore.ts'
import { openObjectStore } from '../../objects/open.ts'
import { createLog } from '../../ops/log.ts'
import { interruption, openExisting } from '../database.ts'

/** Statements here read more than those of a node, and nobody waits for them. */
const TIMEOUT_MS = 120_000
/** What Postgres says when it has not the schema of this release: undefined table, column, function, schema. */
const NO_SUCH_THING = /^(42P01|42703|42883|3F000)$/

export interface Sources {
  readonly db: Db
  /** Of a role that owns the tables, where nodes have another. */
  readonly ownerDb: Db
  readonly store: ObjectStore
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal
}

/** Where a node with this environment has its events. Nothing is migrated. */
export async function withSources<T>(use: (sources: Sources) => Promise<T>): Promise<T> {
  const config = loadConfig(process.env)
  const stack = new StopStack()
  const interrupted = interruption()
  try {
    const timeoutMs = Math.max(config.database.timeoutMs, TIMEOUT_MS)
    const database = stack.add(
      'database',
      await openExisting({ ...config.database, timeoutMs }, createLog('error')),
    )
    const store = stack.add('object store', await openObjectStore(config.archive, database.reads))
    return await use({ db: database.reads, ownerDb: database.moves, store, signal: interrupted })
  } catch (error) {
    throw explained(error)
  } finally {
    await stack.stop()
  }
}

/**
 * For commands that were told what to look at: that there is nothing of that name is not the same as nothing to report.
 * Rejects with `session_not_found` or `tenant_not_found`.
 */
export async function requireScope(
  db: Db,
  { tenant, session }: { readonly tenant?: string; readonly session?: string },
): Promise<void> {
  if (tenant === undefined && session === undefined) return
  if (
    (
      await countScope(db, {
        ...(tenant !== undefined && { tenant }),
        ...(session !== undefined && { session }),
      })
    ).sessions > 0
  )
    return
  const of = tenant === undefined ? 'no tenant' : `tenant ${JSON.stringify(tenant)}`
  throw new Error(
    session === undefined
      ? `tenant_not_found: ${of} has no session; --tenant says whose, --all looks at every tenant`
      : `session_not_found: ${of} has no session ${JSON.stringify(session)}; --tenant says whose`,
  )
}

/** The same error, or what to do where the database has not the schema of this release. */
export function explained(error: unknown): unknown {
  const { code = '', message } = error as Error & { code?: string }
  if (!NO_SUCH_THING.test(code)) return error
  return new DatabaseStartError(
    `the schema is not that of this release (${message}): \`starcite migrate\` brings it there`,
    { cause: error },
  )
}
