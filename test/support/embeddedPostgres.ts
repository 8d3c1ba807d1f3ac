import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { readPostmaster } from '../../src/db/embedded/postmaster.ts'
import {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from '../../src/db/embedded/server.ts'
import { stopServer } from '../../src/db/embedded/stop.ts'

export interface ChildNode {
  readonly process: ChildProcess
  /** Its one line, once the server is up. */
  readonly started: Promise<{ dir: string; port: number; pid: number; adopted: boolean }>
}

/** A directory for one test, and everything that was started in it. `end` leaves nothing behind. */
export class EmbeddedPostgresLab {
  readonly #servers: EmbeddedPostgres[] = []
  readonly #children: ChildProcess[] = []
  readonly dir: string

  private constructor(dir: string) {
    this.dir = dir
  }

  static async open(): Promise<EmbeddedPostgresLab> {
    const dir = await mkdtemp(path.join(await realpath(tmpdir()), 'starcite-embedded-'))
    await chmod(dir, 0o755)
    return new EmbeddedPostgresLab(dir)
  }

  path(...names: string[]): string {
    return path.join(this.dir, ...names)
  }

  async start(options: Partial<EmbeddedPostgresOptions> = {}): Promise<EmbeddedPostgres> {
    const server = await startEmbeddedPostgres({ dir: this.path('data'), durable: false, ...options })
    this.#servers.push(server)
    return server
  }

  /** A process, and a process group, of its own: killing it is like killing a real node. */
  startInChild(): ChildNode {
    const script = path.join(import.meta.dirname, 'embeddedPostgresNode.ts')
    const child = spawn(process.execPath, ['--import', 'tsx', script, this.path('data')], {
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.#children.push(child)
    const lines = createInterface({ input: child.stdout })
    const started = Promise.race([
      once(lines, 'line').then(([line]) => JSON.parse(line as string)),
      once(child, 'exit').then(() => Promise.reject(new Error('the node ended before its server was up'))),
    ])
    started.catch(() => undefined) // a test that kills the node early does not wait for this
    return { process: child, started }
  }

  async stopServers(): Promise<void> {
    for (const server of this.#servers) await server.stop()
  }

  async end(): Promise<void> {
    for (const child of this.#children) if (child.pid !== undefined) await killed(child, child.pid)
    await this.stopServers()
    // What a child started and no test adopted, because it failed before.
    const left = await readPostmaster(this.path('data'))
    if (left !== undefined) await stopServer(left.pid, this.path('data'))
    await rm(this.dir, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Kills, and returns when the process is gone. A negative pid means its whole group. */
export async function killed(child: ChildProcess, pid: number, signal: NodeJS.Signals = 'SIGKILL') {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  process.kill(pid, signal)
  await exit
}

export async function query(server: { port: number }, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: `postgres://postgres@127.0.0.1:${server.port}/postgres` })
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

/** Waits for something that has no event to wait for: a file, the state of a foreign process. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(2)
}
