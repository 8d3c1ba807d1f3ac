import { type Config, loadConfig } from '../config.ts'
import type { Database } from '../db/database.ts'
import { StopStack } from '../lib/stopStack.ts'
import type { Log } from '../ops/log.ts'

export interface Opened {
  readonly config: Config
  readonly log: Log
  readonly database: Database
  /** Stops what the command adds to it, before the database. */
  readonly stack: StopStack
}

/**
 * Opens the database of a node with this environment, for as long as `use` runs. Loads Postgres's client, the log and what
 * else it takes. Logs at this level, or at that of the node when there is none.
 */
export async function withDatabase<T>(
  level: Config['logLevel'] | undefined,
  use: (opened: Opened) => Promise<T>,
): Promise<T> {
  const [{ createLog }, { openExisting }] = await Promise.all([
    import('../ops/log.ts'),
    import('./database.ts'),
  ])
  const config = loadConfig(process.env)
  const log = createLog(level ?? config.logLevel)
  const stack = new StopStack()
  try {
    const database = stack.add('database', await openExisting(config.database, log))
    return await use({ config, log, database, stack })
  } finally {
    await stack.stop()
  }
}
