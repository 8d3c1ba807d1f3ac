import { Command } from 'commander'
import type { SetExitCode } from '../exit.ts'

export function psqlCommand(setExitCode: SetExitCode): Command {
  return new Command('psql')
    .description('Open psql on the database of a node with this environment, or print its address.')
    .argument('[arguments...]', 'for psql, after --')
    .option('--print-url', "print the database's URL, with its password, for other programs")
    .addHelpText(
      'after',
      `
psql itself comes from Postgres's client packages. Without DATABASE_URL it is the embedded Postgres, which is started if no
node runs, and stopped afterwards.

  starcite psql
  starcite psql -- -c '\\dv audit.*'
  psql "$(starcite psql --print-url)"`,
    )
    .action(async (args: string[], { printUrl }: { printUrl?: true }) => {
      const { openPsql } = await import('../psql.ts')
      setExitCode(await openPsql(args, printUrl === true))
    })
}
