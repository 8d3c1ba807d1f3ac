import { readFileSync } from 'node:fs'
import { ConfigError, loadConfig } from '../config.ts'
import { openDatabase } from '../db/database.ts'
import { StopStack } from '../lib/stopStack.ts'
import { createLog } from '../ops/log.ts'

const USAGE = `npm run migrate: brings the schema to this release, and grants the roles what they need.

Nodes do it when they start, if their database user may. It uses STARCITE_MIGRATE_URL, else STARCITE_LISTEN_URL, else
DATABASE_URL (docs/security.md). May be repeated, and run while nodes work. Exit code 0 when the schema is of this
release; 1 when not; 2 when the command or the configuration is wrong.
`

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

async function migrateNow(): Promise<void> {
  const config = loadConfig(process.env)
  const stack = new StopStack()
  try {
    const database = stack.add('database', await openDatabase(config.database, 1, createLog(config.logLevel)))
    await database.prepare(version)
    process.stdout.write(`The schema is that of Starcite ${version}.\n`)
  } finally {
    await stack.stop()
  }
}

const [argument] = process.argv.slice(2)
if (argument === '--help' || argument === '-h') process.stdout.write(USAGE)
else if (argument !== undefined) {
  process.stderr.write(`starcite migrate: there is no option ${argument}\n\n${USAGE}`)
  process.exitCode = 2
} else
  migrateNow().catch((error: unknown) => {
    process.stderr.write(`starcite migrate: ${(error as Error).message}\n`)
    process.exit(error instanceof ConfigError ? 2 : 1)
  })
