import { spawn } from 'node:child_process'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { CHILD_ENV, program } from './binaries.ts'
import type { Cluster } from './dataDirectory.ts'
import { EmbeddedPostgresError } from './error.ts'
import { freePort, isFree, LOOPBACK } from './ports.ts'
import { findServer, POLL_MS, type Postmaster, READY_WAIT_MS, readPostmaster } from './postmaster.ts'
import { logFileOf, logSize, openLog, readLog } from './serverLog.ts'
import { stopServer } from './stop.ts'

/** After a kill, the server's backends hold the shared memory until they notice: at once, or after their query. */
const ORPHANS_WAIT_MS = 15_000
const RETRY_MS = 100
/** Attempts when another program takes the port between the check and the start. More than one is rarely needed. */
const PORT_ATTEMPTS = 5

const DEFAULTS = {
  max_connections: '200',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_checkpoints: 'off', // every five minutes, and of no use to a developer
}
const THROW_AWAY = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  // In the data directory, so that what a killed server leaves is deleted with it. The default would leave files in
  // /dev/shm.
  ...(process.platform !== 'win32' && { dynamic_shared_memory_type: 'mmap' }),
}
/** Settings that the caller must not change. */
const FIXED = {
  listen_addresses: LOOPBACK,
  unix_socket_directories: '', // their paths are limited to 107 bytes; data directories are longer
}

export interface Launch extends Cluster {
  readonly port: number | undefined
  /** Used without `port`, if it is free. */
  readonly preferredPort: number | undefined
  readonly settings: Readonly<Record<string, string>>
  /** The last server on this directory was killed. */
  readonly crashed: boolean
  readonly signal: AbortSignal | undefined
}

/** Starts a server and waits until it accepts connections; `adopted` if another process was faster. */
export async function launch(options: Launch): Promise<{ server: Postmaster; adopted: boolean }> {
  const { dir } = options
  const deadline = Date.now() + (options.crashed ? ORPHANS_WAIT_MS : 0)
  for (let attempt = 1; ; attempt++) {
    const port = options.port ?? (await choosePort(options.preferredPort))
    const from = await logSize(dir)
    const failure = (await isFree(port)) ? await attemptOn(port, options) : 'its port is taken'
    if (typeof failure !== 'string') return { server: failure, adopted: false }

    const { server } = await findServer(dir)
    if (server !== undefined) return { server, adopted: true }
    const taken = !(await isFree(port))
    const again = options.port === undefined && taken && attempt < PORT_ATTEMPTS
    if (!again && Date.now() >= deadline) {
      if (taken)
        throw new EmbeddedPostgresError(
          `Postgres cannot listen on ${LOOPBACK}:${port}: the port is taken. Choose another, or none to have one found.`,
        )
      const said = await readLog(dir, from).catch(() => '')
      throw new EmbeddedPostgresError(
        `Postgres did not start (${failure}). It said:\n${said.trim()}\nIts log is ${logFileOf(dir)}.`,
      )
    }
    options.signal?.throwIfAborted()
    await sleep(RETRY_MS)
  }
}

async function choosePort(preferred: number | undefined): Promise<number> {
  return preferred !== undefined && (await isFree(preferred)) ? preferred : freePort()
}

/** Resolves with the ready server, or with the reason why there is none. */
async function attemptOn(port: number, options: Launch): Promise<Postmaster | string> {
  const { dir, root, account, signal } = options
  const settings = { ...DEFAULTS, ...(options.durable ? {} : THROW_AWAY), ...options.settings, ...FIXED }
  const words = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const log = await openLog(dir, account)
  const child = spawn(program(root, 'postgres'), ['-D', dir, '-p', String(port), ...words], {
    ...account,
    cwd: path.parse(dir).root,
    env: CHILD_ENV,
    // A process group of its own: Ctrl-C at the terminal reaches this process, which drains first, and not the
    // server.
    detached: true,
    windowsHide: true,
    stdio: ['ignore', log.fd, log.fd],
  })
  let ended: string | undefined
  child.once('exit', (code, signal) => {
    ended = signal === null ? `exit code ${code}` : `killed by ${signal}`
  })
  child.once('error', (cause) => {
    ended = cause.message
  })
  child.unref()
  await log.close()

  for (const deadline = Date.now() + READY_WAIT_MS; Date.now() < deadline; await sleep(POLL_MS)) {
    if (ended !== undefined) return ended
    const found = await readPostmaster(dir)
    if (found?.pid === child.pid && found?.status === 'ready') return found
    if (signal?.aborted && child.pid !== undefined) await stopServer(child.pid, dir)
    signal?.throwIfAborted()
  }
  throw new EmbeddedPostgresError(
    `Postgres (process ${child.pid}) is still starting after ${READY_WAIT_MS / 1000} s. ` +
      `It goes on: see ${logFileOf(dir)}, and try again later.`,
  )
}
