import type { Config } from '../config.ts'
import { type Database, openDatabase } from '../db/database.ts'
import type { Log } from '../ops/log.ts'
import { maskUrl } from './maskSecrets.ts'
import { err } from './terminal.ts'

/**
 * Opens the database of a node with this configuration, and prints on standard error which one that is. Never creates one:
 * rejects with a DatabaseStartError when there is none.
 */
export async function openExisting(config: Config['database'], log: Log): Promise<Database> {
  const database = await openDatabase(config, 1, log, { mayCreate: false })
  err(`Database: ${nameOf(config, database)}\n`)
  return database
}

/** The database and the setting that chooses it, without the password, for people. */
export function nameOf(config: Config['database'], database: Database): string {
  if (database.embeddedDir !== undefined) return `the embedded Postgres in ${database.embeddedDir}`
  return `${maskUrl(config.url ?? database.directUrl)} (DATABASE_URL)`
}
