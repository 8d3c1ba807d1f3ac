import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Command } from 'commander'
import { EXIT, setExitCode } from '../exit.ts'
import { out } from '../terminal.ts'
import { withDatabase } from '../withDatabase.ts'

export function psqlCommand(): Command {
  return new Command('psql')
    .description("Open psql on the database of a node with this environment, or print the database's URL.")
    .argument('[arguments...]', 'for psql, after --')
    .option('--print-url', "print the database's URL, with its password, for other programs")
    .addHelpText(
      'after',
      `
psql is part of Postgres's client packages. Without DATABASE_URL the command opens the embedded Postgres: it starts it when
no node runs, and stops it afterwards. The exit code is that of psql.

  starcite psql
  starcite psql -- -c '\\dv audit.*'
  psql "$(starcite psql --print-url)"`,
    )
    .action(openPsql)
}

async function openPsql(args: string[], { printUrl }: { printUrl?: true }): Promise<void> {
  await withDatabase('error', async ({ database }) => {
    if (printUrl) out(`${database.directUrl}\n`)
    else setExitCode(await runPsql(database.directUrl, args))
  })
}

/** Passes the password in the environment: every user of the machine can read arguments. Resolves with psql's exit code. */
async function runPsql(url: string, args: readonly string[]): Promise<number> {
  const target = new URL(url)
  const { password } = target
  target.password = ''
  const ignore = () => {} // psql handles Ctrl-C: it cancels a statement
  process.on('SIGINT', ignore)
  const child = spawn('psql', ['-d', target.href, ...args], {
    stdio: 'inherit',
    env: { ...process.env, ...(password && { PGPASSWORD: decodeURIComponent(password) }) },
  })
  try {
    const [code] = await once(child, 'close')
    return typeof code === 'number' ? code : EXIT.failed
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw new Error(
      "psql is not on the PATH: install Postgres's client programs (postgresql-client), or give the URL of " +
        '`starcite psql --print-url` to another client',
    )
  } finally {
    process.off('SIGINT', ignore)
  }
}
