import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { findPackage, program } from './binaries.ts'
import { EmbeddedPostgresError } from './error.ts'
import { isServerOf, POLL_MS } from './postmaster.ts'

const run = promisify(execFile)

/** A fast shutdown writes everything to disk first; what takes longer is ended at once, and recovered at the next start. */
const FAST_STOP_MS = 30_000
const IMMEDIATE_STOP_MS = 5_000
/** The server notices a closed connection a moment after the client closed it: ours should not count. */
const LAST_CLIENT_GRACE_MS = 1_000

export async function stopServer(pid: number, dir: string): Promise<void> {
  await signal(pid, dir, 'INT')
  if (await hasEnded(pid, dir, FAST_STOP_MS)) return
  await signal(pid, dir, 'QUIT')
  if (await hasEnded(pid, dir, IMMEDIATE_STOP_MS)) return
  throw new EmbeddedPostgresError(`Postgres (process ${pid}) on ${dir} does not stop`)
}

/** Whether clients other than the asker stay connected. */
export async function isInUse(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 })
  client.on('error', () => undefined) // the server may be stopped under us; the query then fails by itself
  await client.connect()
  try {
    for (const deadline = Date.now() + LAST_CLIENT_GRACE_MS; ; await sleep(POLL_MS)) {
      const { rowCount } = await client.query(
        `select from pg_catalog.pg_stat_activity a
          where a.backend_type = 'client backend' and a.pid <> pg_catalog.pg_backend_pid()`,
      )
      if (rowCount === 0) return false
      if (Date.now() > deadline) return true
    }
  } finally {
    await client.end()
  }
}

async function signal(pid: number, dir: string, name: 'INT' | 'QUIT'): Promise<void> {
  if (!(await isServerOf(pid, dir))) return
  if (process.platform === 'win32') {
    const { root } = await findPackage()
    await run(program(root, 'pg_ctl'), ['kill', name, String(pid)]) // there are no signals to send ourselves
    return
  }
  try {
    process.kill(pid, `SIG${name}`)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ESRCH') throw cause
  }
}

async function hasEnded(pid: number, dir: string, withinMs: number): Promise<boolean> {
  for (const deadline = Date.now() + withinMs; Date.now() < deadline; await sleep(POLL_MS))
    if (!(await isServerOf(pid, dir))) return true
  return false
}
