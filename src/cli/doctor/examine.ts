import path from 'node:path'
import { loadConfig } from '../../config.ts'
import { type Database, openDatabase } from '../../db/database.ts'
import { hasDatabase } from '../../db/embedded/location.ts'
import { createLog } from '../../ops/log.ts'
import { nameOf } from '../database.ts'
import { type Checks, type Finding, failed, ok, skipped } from './check.ts'
import { checkMoves } from './moves.ts'
import { checkNode } from './node.ts'
import { checkPostgres } from './postgres.ts'
import { checkStore } from './store.ts'

interface Options {
  readonly url?: string
  readonly token?: string
}

/** Checks everything that this environment configures, and the node at the URL if there is one. */
export async function* examine({ url, token = process.env.STARCITE_TOKEN }: Options): Checks {
  let config: ReturnType<typeof loadConfig>
  try {
    config = loadConfig(process.env)
    yield ok('configuration', 'a node would start with it')
  } catch (error) {
    yield failed(
      'configuration',
      error,
      'docs/configuration.md describes every variable; `starcite check-config` prints the values.',
    )
    return
  }
  if (config.database.url === undefined && !(await hasDatabase(path.resolve(config.database.embeddedDir))))
    yield noDatabase(path.resolve(config.database.embeddedDir), url !== undefined)
  else yield* examineDatabase(config)
  if (url !== undefined) yield* checkNode({ url, ...(token && { token }) })
}

/** A failure, unless the caller checks a node alone. */
function noDatabase(dir: string, hasNode: boolean): Finding {
  const message = `DATABASE_URL is not set, and there is no embedded database in ${dir}: Postgres and cold storage were not checked`
  if (hasNode) return skipped('database', message)
  return failed('database', message, 'Set DATABASE_URL, or give --url to check a running node.')
}

async function* examineDatabase(config: ReturnType<typeof loadConfig>): Checks {
  let database: Database | undefined
  try {
    database = await openDatabase(config.database, 1, createLog('error'), { mayCreate: false })
    yield ok('database', nameOf(config.database, database))
    let hasSchema = false
    const poolUrl = config.database.url ?? database.directUrl
    for await (const finding of checkPostgres(poolUrl, database.directUrl, config.database.poolSize + 2)) {
      if (finding.name === 'schema') hasSchema = finding.message.startsWith('up to date')
      yield finding
    }
    if (hasSchema) yield* checkMoves(database.tieringUrl, config.database.timeoutMs)
    yield* checkStore(config.archive, database.moves, hasSchema)
  } catch (error) {
    yield failed('postgres', error, 'See docs/operations.md, "Starting".')
  } finally {
    await database?.stop()
  }
}
