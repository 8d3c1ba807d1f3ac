import { setMaxListeners } from 'node:events'
import type { Config } from '../config.ts'
import { type Database, openDatabase } from '../db/database.ts'
import type { Log } from '../ops/log.ts'
import { maskUrl } from './maskSecrets.ts'
import { err } from './terminal.ts'

/**
 * The database of a node with this configuration, for a command, which never creates one; on standard error it says which.
 * Rejects with DatabaseStartError when there is none.
 */
export async function openExisting(config: Config['database'], log: Log): Promise<Database> {
  const database = await openDatabase(config, 1, log, { mayCreate: false })
  err(`Database: ${nameOf(config, database)}\n`)
  return database
}

/** For people: which database it is, and which setting says so; no password. */
export function nameOf(config: Config['database'], database: Database): string {
  if (database.embeddedDir !== undefined) return `the embedded Postgres in ${database.embeddedDir}`
  return `${maskUrl(config.url ?? database.directUrl)} (DATABASE_URL)`
}

/** A signal that Ctrl-C aborts, once; the second one ends the process. */
export function interruption(): AbortSignal {
  const controller = new AbortController()
  setMaxListeners(0, controller.signal) // everything that waits listens to it
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => controller.abort(new Error('interrupted')))
  return controller.signal
}
