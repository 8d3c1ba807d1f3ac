import { loadConfig } from '../config.ts'
import { StopStack } from '../lib/stopStack.ts'
import { createLog } from '../ops/log.ts'
import { openExisting } from './database.ts'
import { out } from './terminal.ts'
import { version } from './version.ts'

/** Brings the schema to this release, and says so. */
export async function migrateSchema(): Promise<void> {
  const config = loadConfig(process.env)
  const stack = new StopStack()
  try {
    const database = stack.add('database', await openExisting(config.database, createLog(config.logLevel)))
    await database.prepare(version)
    out(`The schema is that of Starcite ${version}.\n`)
  } finally {
    await stack.stop()
  }
}
