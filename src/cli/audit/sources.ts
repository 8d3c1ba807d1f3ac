import { loadConfig } from '../../config.ts'
import { DatabaseStartError, openDatabase } from '../../db/database.ts'
import type { Db } from '../../db/pool.ts'
import { StopStack } from '../../lib/stopStack.ts'
import type { ObjectStore } from '../../objects/objectStore.ts'
import { openObjectStore } from '../../objects/open.ts'
import { createLog } from '../../ops/log.ts'

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
      await openDatabase({ ...config.database, timeoutMs }, 1, createLog('error')),
    )
    const store = stack.add('object store', await openObjectStore(config.archive, database.reads))
    return await use({ db: database.reads, ownerDb: database.moves, store, signal: interrupted })
  } catch (error) {
    throw explained(error)
  } finally {
    await stack.stop()
  }
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

/** A signal that Ctrl-C aborts, once; the second one ends the process. */
export function interruption(): AbortSignal {
  const controller = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => controller.abort(new Error('interrupted')))
  return controller.signal
}
