import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../../src/db/embedded/ports.ts'
import type { Stoppable } from '../../src/lib/stopStack.ts'

const READY_WAIT_MS = 60_000
const STOP_WAIT_MS = 30_000
const MAIN = new URL('../../dist/main.js', import.meta.url)

export interface NodeOptions {
  readonly databaseUrl: string
  /** Where a CPU profile of the node's life is written when it stops. */
  readonly profileDir?: string | undefined
  readonly settings?: Readonly<Record<string, string>>
  /** A module that the node loads first, and that answers messages to the process. */
  readonly probe?: URL
}

/** Segments are moved by rows that measure that, and by no node on its own. */
const NO_JOB = { STARCITE_ARCHIVE_FLUSH_INTERVAL_MS: '86400000' }

/** A real node, built and started as a user would start it. */
export class StarciteNode implements Stoppable {
  readonly port: number
  readonly #process: ChildProcess

  private constructor(port: number, child: ChildProcess) {
    this.port = port
    this.#process = child
  }

  static async start({ databaseUrl, profileDir, settings, probe }: NodeOptions): Promise<StarciteNode> {
    const port = await freePort()
    const profiling = profileDir === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', profileDir]
    const probing = probe === undefined ? [] : ['--import', probe.href]
    const own = { DATABASE_URL: databaseUrl, PORT: String(port), STARCITE_LOG_LEVEL: 'warn', ...NO_JOB }
    const child = spawn(process.execPath, [...profiling, ...probing, MAIN.pathname], {
      env: { ...process.env, ...own, ...settings },
      stdio: ['ignore', process.stderr, process.stderr, ...(probe === undefined ? [] : ['ipc' as const])],
    })
    const node = new StarciteNode(port, child)
    try {
      await node.#ready()
      return node
    } catch (cause) {
      await node.stop()
      throw cause
    }
  }

  get pid(): number {
    return this.#process.pid!
  }

  /** What the probe answers now. */
  async ask<T>(): Promise<T> {
    if (this.#ended) throw new Error('the node has ended')
    const answer = once(this.#process, 'message', { signal: AbortSignal.timeout(READY_WAIT_MS) })
    this.#process.send({})
    return (await answer)[0] as T
  }

  get #ended(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null
  }

  async stop(): Promise<void> {
    if (this.#ended) return
    const exit = once(this.#process, 'exit')
    this.#process.kill('SIGTERM')
    const overdue = setTimeout(() => this.#process.kill('SIGKILL'), STOP_WAIT_MS)
    await exit
    clearTimeout(overdue)
  }

  async #ready(): Promise<void> {
    for (const deadline = Date.now() + READY_WAIT_MS; Date.now() < deadline; await sleep(50)) {
      if (this.#ended) throw new Error(`the node ended while it started: ${this.#process.exitCode}`)
      const health = await fetch(`http://127.0.0.1:${this.port}/health/ready`).catch(() => undefined)
      if (health?.status === 200) return
    }
    throw new Error(`the node was not ready after ${READY_WAIT_MS / 1000} s`)
  }
}
