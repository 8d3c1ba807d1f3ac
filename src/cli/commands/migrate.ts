import { Command } from 'commander'
import { out } from '../terminal.ts'
import { version } from '../version.ts'
import { withDatabase } from '../withDatabase.ts'

export function migrateCommand(): Command {
  return new Command('migrate')
    .description('Bring the schema of the database to this release, and grant the roles their rights.')
    .addHelpText(
      'after',
      `
A node does the same at its start, if its database user may. The command connects with STARCITE_MIGRATE_URL, else
STARCITE_LISTEN_URL, else DATABASE_URL (docs/security.md), and waits up to STARCITE_STARTUP_WAIT for the database. It may
be repeated, and may run while nodes work.`,
    )
    .action(migrate)
}

async function migrate(): Promise<void> {
  await withDatabase(undefined, ({ database }) => database.prepare(version))
  out(`The schema is that of Starcite ${version}.\n`)
}
