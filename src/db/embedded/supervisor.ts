import { jittered, pause } from '../../lib/backoff.ts'
import type { Log } from '../../ops/log.ts'
import { isServerOf } from './postmaster.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from './server.ts'

/** How long a dead server may go unnoticed. A look asks the system for a process; Postgres has no work with it. */
const WATCH_MS = 500
const RETRY_BASE_MS = 200
const RETRY_MAX_MS = 10_000
/** A server that ran for this long fell for another reason than the one before it: the waits begin anew. */
const STEADY_MS = 60_000

/**
 * The embedded Postgres of a process that runs on: running → gone → (wait, start again) → running …, until stopped.
 *
 * Every process that uses the server watches it, whoever started it, and starts it again when it is gone. The start
 * lock lets one of them start it; the others then find it running. It may come back on another port, when something
 * took its own meanwhile, so `url` is to be asked for each connection.
 */
export class SupervisedPostgres {
  #server: EmbeddedPostgres
  #fails = false
  readonly #log: Log
  readonly #stopping = new AbortController()
  readonly #watching: Promise<void>

  private constructor(server: EmbeddedPostgres, log: Log) {
    this.#server = server
    this.#log = log
    this.#watching = this.#watch()
  }

  /** Rejects with EmbeddedPostgresError when it does not start at first. */
  static async start(dir: string, log: Log): Promise<SupervisedPostgres> {
    return new SupervisedPostgres(await startEmbeddedPostgres({ dir, onMessage: (it) => log.info(it) }), log)
  }

  get url(): string {
    return this.#server.url
  }

  /** The same: no pooler is between. */
  get directUrl(): string {
    return this.#server.url
  }

  get dir(): string {
    return this.#server.dir
  }

  /** In words, while it does not start; undefined while it runs, and while it is first started again. */
  get fault(): string | undefined {
    return this.#fails
      ? 'the embedded Postgres does not start; the log says why, and it is tried again'
      : undefined
  }

  /** From now on a server that ends is what somebody wanted. */
  leave(): void {
    this.#stopping.abort()
  }

  /** Stops the server unless another process uses it. Close your own connections first. */
  async stop(): Promise<void> {
    this.leave()
    await this.#watching
    await this.#server.stop({ ifUnused: true })
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stopping
    for (let attempt = 0; ; attempt += 1) {
      const livedMs = await this.#untilGone()
      if (signal.aborted) return
      if (livedMs > STEADY_MS) attempt = 0
      if (!this.#fails)
        this.#log.warn({ pid: this.#server.pid }, 'the embedded Postgres is gone: it is started again')
      await pause(jittered(attempt, RETRY_BASE_MS, RETRY_MAX_MS), signal)
      await this.#startAgain(attempt)
    }
  }

  /** Resolves to the milliseconds that this took; at once for a server that is gone already, or when told to leave. */
  async #untilGone(): Promise<number> {
    const { pid, dir } = this.#server
    const { signal } = this.#stopping
    const began = Date.now()
    while (!signal.aborted && (await isServerOf(pid, dir))) await pause(WATCH_MS, signal)
    return Date.now() - began
  }

  async #startAgain(attempt: number): Promise<void> {
    const { signal } = this.#stopping
    const { dir, port } = this.#server
    try {
      this.#server = await startEmbeddedPostgres({
        dir,
        preferredPort: port,
        mustExist: true,
        signal,
        onMessage: (message) => this.#log.info(message),
      })
      this.#fails = false
    } catch (error) {
      if (signal.aborted) return
      this.#fails = true
      this.#log.error(
        { reason: (error as Error).message, attempt },
        'the embedded Postgres does not start: it is tried again',
      )
    }
  }
}
