import { readFile, rm } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { takesClients } from './clients.ts'
import { EmbeddedPostgresError } from './error.ts'
import { answers, commandLineOf } from './processes.ts'
import { logFileOf } from './serverLog.ts'

/** What a server writes about itself to `postmaster.pid`, which exists while it runs. */
export interface Postmaster {
  readonly pid: number
  readonly port: number
  readonly status: string // 'starting' | 'ready' | 'stopping', as Postgres writes it
}

/**
 * Replaying the log after a crash can take a while; after this time the server continues, and a later start adopts
 * it.
 */
export const READY_WAIT_MS = 60_000
/** A server writes its pid file right after creating it; one that is still empty after this was left by a crash. */
const EMPTY_FILE_MS = 1_000
export const POLL_MS = 10

const pidFileOf = (dir: string): string => path.join(dir, 'postmaster.pid')

export async function readPostmaster(dir: string): Promise<Postmaster | undefined> {
  try {
    const lines = (await readFile(pidFileOf(dir), 'utf8')).split('\n')
    return { pid: Number(lines[0]), port: Number(lines[3]), status: lines[7]?.trim() ?? 'starting' }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new EmbeddedPostgresError(
      `cannot read the database in ${dir}: ${(cause as Error).message}. ` +
        'If it belongs to another user, start as that user or choose another directory.',
      { cause },
    )
  }
}

/** Whether this pid is the server of this directory, and not a zombie or a later process with the same number. */
export async function isServerOf(pid: number, dir: string): Promise<boolean> {
  if (!(pid > 0) || !answers(pid)) return false
  if (process.platform === 'win32') return true // reading a command line would need another tool
  const command = `${await commandLineOf(pid)} `
  return command.includes('postgres') && command.includes(` -D ${dir} `)
}

/**
 * Finds the server that runs on this directory, once it accepts clients; waits for one that is stopping. `crashed`:
 * the last server did not shut down cleanly.
 */
export async function findServer(
  dir: string,
  signal?: AbortSignal,
): Promise<{ server?: Postmaster; crashed: boolean }> {
  const began = Date.now()
  for (;;) {
    const found = await readPostmaster(dir)
    if (found === undefined) return { crashed: false }
    const waited = Date.now() - began
    const lives = await isServerOf(found.pid, dir)
    if (lives && found.status === 'ready' && (await takesClients(dir, found.port)))
      return { server: found, crashed: false }
    if (!lives && (found.pid > 0 || waited > EMPTY_FILE_MS)) {
      await clearStale(dir, found)
      return { crashed: true }
    }
    if (waited > READY_WAIT_MS)
      throw new EmbeddedPostgresError(
        `The server of ${dir} (process ${found.pid}) does not take clients (${found.status}) for over ` +
          `${READY_WAIT_MS / 1000} s. See ${logFileOf(dir)}, and try again later.`,
      )
    signal?.throwIfAborted()
    await sleep(POLL_MS)
  }
}

/**
 * Removes the pid file of a dead server where Postgres would refuse to start. Postgres itself replaces the file, and
 * finds in it which shared memory to look for; it refuses only while the pid exists: a zombie, or an unrelated
 * process.
 */
async function clearStale(dir: string, found: Postmaster): Promise<void> {
  if (!(found.pid > 0) || answers(found.pid)) await rm(pidFileOf(dir), { force: true })
}
