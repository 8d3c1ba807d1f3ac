import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { loadConfig } from '../config.ts'
import { StopStack } from '../lib/stopStack.ts'
import { createLog } from '../ops/log.ts'
import { openExisting } from './database.ts'
import { EXIT } from './exit.ts'
import { out } from './terminal.ts'

/** Runs psql on the node's database, or prints the URL of the database. Resolves with the exit code. */
export async function openPsql(args: readonly string[], printsUrl: boolean): Promise<number> {
  const config = loadConfig(process.env)
  const stack = new StopStack()
  try {
    const database = stack.add('database', await openExisting(config.database, createLog('error')))
    if (printsUrl) {
      out(`${database.directUrl}\n`)
      return EXIT.ok
    }
    return await run(database.directUrl, args)
  } finally {
    await stack.stop()
  }
}

/** The password goes by the environment: arguments can be read by every user of the machine. */
async function run(url: string, args: readonly string[]): Promise<number> {
  const target = new URL(url)
  const { password } = target
  target.password = ''
  // Ctrl-C is psql's: it ends a statement there.
  const ignore = () => {}
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
      "there is no psql on the PATH: install Postgres's client programs (postgresql-client), or give " +
        '`starcite psql --print-url` to a client that you have',
    )
  } finally {
    process.off('SIGINT', ignore)
  }
}
