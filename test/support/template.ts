import pg from 'pg'
import { migrate } from '../../src/db/migrate.ts'
import { createLog } from '../../src/ops/log.ts'
import { type FreshDatabase, freshDatabase } from './postgres.ts'

let template: Promise<FreshDatabase> | undefined

/** A database of its own with the schema in it: a copy of one that was migrated once in this process. */
export async function migratedDatabase(): Promise<FreshDatabase> {
  template ??= freshDatabase().then(async (database) => {
    await migrate(database.url, '0.0.0-test', createLog('silent'))
    return database
  })
  return freshDatabase({ template: (await template).name })
}

/**
 * A connection to it whose search_path is empty, so that an unqualified name cannot pass. `json` comes as text.
 */
export async function connect(database: { url: string }): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: database.url, options: '-c search_path=' })
  client.setTypeParser(114, (text) => text)
  client.on('error', () => {}) // the server may be stopped under it
  try {
    await client.connect()
  } catch (error) {
    await client.end() // a refused client keeps its socket
    throw error
  }
  return client
}
