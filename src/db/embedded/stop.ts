import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { findPackage, program } from './binaries.ts'
import { EmbeddedPostgresError } from './error.ts'
import { isServerOf, POLL_MS } from './postmaster.ts'

const run = promisify(execFile)

/**
 * A fast shutdown writes everything to disk first; one that takes longer is killed, and recovered at the next start.
 */
const FAST_STOP_MS = 30_000
const IMMEDIATE_STOP_MS = 5_000

export async function stopServer(pid: number, dir: string): Promise<void> {
  await signal(pid, dir, 'INT')
  if (await hasEnded(pid, dir, FAST_STOP_MS)) return
  await signal(pid, dir, 'QUIT')
  if (await hasEnded(pid, dir, IMMEDIATE_STOP_MS)) return
  throw new EmbeddedPostgresError(`Postgres (process ${pid}) on ${dir} does not stop`)
}

async function signal(pid: number, dir: string, name: 'INT' | 'QUIT'): Promise<void> {
  if (!(await isServerOf(pid, dir))) return
  if (process.platform === 'win32') {
    const { root } = await findPackage()
    await run(program(root, 'pg_ctl'), ['kill', name, String(pid)]) // Windows has no signals
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
