import { ConfigError } from '../config.ts'
import { migrateSchema } from './migrateSchema.ts'

const USAGE = `npm run migrate: brings the schema to this release, and grants the roles what they need.

Nodes do it when they start, if their database user may. It uses STARCITE_MIGRATE_URL, else STARCITE_LISTEN_URL, else
DATABASE_URL (docs/security.md). May be repeated, and run while nodes work. Exit code 0 when the schema is of this
release; 1 when not; 2 when the command or the configuration is wrong.
`

const [argument] = process.argv.slice(2)
if (argument === '--help' || argument === '-h') process.stdout.write(USAGE)
else if (argument !== undefined) {
  process.stderr.write(`starcite migrate: there is no option ${argument}\n\n${USAGE}`)
  process.exitCode = 2
} else
  migrateSchema().catch((error: unknown) => {
    process.stderr.write(`starcite migrate: ${(error as Error).message}\n`)
    process.exit(error instanceof ConfigError ? 2 : 1)
  })
