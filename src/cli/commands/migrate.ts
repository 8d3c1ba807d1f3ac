import { Command } from 'commander'

export function migrateCommand(): Command {
  return new Command('migrate')
    .description('Bring the schema of the database to this release, and grant the roles what they need.')
    .addHelpText(
      'after',
      `
Nodes do it when they start, if their database user may. It uses STARCITE_MIGRATE_URL, else STARCITE_LISTEN_URL, else
DATABASE_URL (docs/security.md), and waits for the database for STARCITE_STARTUP_WAIT. May be repeated, and run while
nodes work. Exit code 4: the database cannot be used; 5: its schema is newer than this release.`,
    )
    .action(async () => {
      const { migrateSchema } = await import('../migrateSchema.ts')
      await migrateSchema()
    })
}
