import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from '../../src/db/embedded/server.ts'
import { copyCluster } from './cluster.ts'
import { endServer } from './leftovers.ts'
import { programOf } from './programs.ts'
import { makeScratch } from './scratch.ts'
import { serverPackage } from './serverPackage.ts'

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
    return new EmbeddedPostgresLab(await makeScratch('embedded'))
  }

  path(...names: string[]): string {
    return path.join(this.dir, ...names)
  }

  /** Where nothing is asked of how the database is created, it is a copy. */
  async start(options: Partial<EmbeddedPostgresOptions> = {}): Promise<EmbeddedPostgres> {
    const asksHow = options.dir !== undefined || options.onMessage !== undefined
    if (!asksHow && !existsSync(this.path('data')))
      await copyCluster(this.path('data'), options.durable ? 'durable' : 'throwAway')
    const server = await startEmbeddedPostgres({
      dir: this.path('data'),
      durable: false,
      pack: await serverPackage(),
      ...options,
    })
    this.#servers.push(server)
    return server
  }

  /** A process, and a process group, of its own: killing it is like killing a real node. */
  startInChild(): ChildNode {
    const program = programOf('test/support/embeddedPostgresNode.ts')
    const child = spawn(process.execPath, [...program, this.path('data')], {
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
    await endServer(this.path('data'))
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

/** Without `url`, of a throw-away server, which asks for no password. */
export async function query(
  server: { port: number; url?: string },
  sql: string,
): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({
    connectionString: server.url ?? `postgres://postgres@127.0.0.1:${server.port}/postgres`,
  })
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
