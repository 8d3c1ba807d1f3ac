import { jittered, pause } from '../../lib/backoff.ts'
import type { Log } from '../../ops/log.ts'
import { isServerOf } from './postmaster.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from './server.ts'

/** The interval at which the server's process is checked. The check costs Postgres nothing. */
const WATCH_MS = 500
const RETRY_BASE_MS = 200
const RETRY_MAX_MS = 10_000
/** A server that ran for this long ended for another reason than the one before it: the pauses start over. */
const STEADY_MS = 60_000

/**
 * Keeps the embedded Postgres of a process running: running → gone → (pause, start again) → running …, until stopped.
 *
 * Every process that uses the server watches it, whichever started it, and starts it again when it is gone. The start
 * lock admits one of them; the others then find it running. It may return on another port when another program took
 * its own meanwhile, so read `url` for each connection.
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

  /** Rejects with an EmbeddedPostgresError when the first start fails. */
  static async start(dir: string, log: Log): Promise<SupervisedPostgres> {
    return new SupervisedPostgres(await startEmbeddedPostgres({ dir, onMessage: (it) => log.info(it) }), log)
  }

  get url(): string {
    return this.#server.url
  }

  /** The same as `url`: there is no pooler between. */
  get directUrl(): string {
    return this.#server.url
  }

  get dir(): string {
    return this.#server.dir
  }

  /** Why it does not start; undefined while it runs, and during the first restart. */
  get fault(): string | undefined {
    return this.#fails ? 'the embedded Postgres does not start: see the log; the node retries' : undefined
  }

  /** From now on, an end of the server is intended. */
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
        this.#log.warn({ pid: this.#server.pid }, 'embedded Postgres is gone: starting it again')
      await pause(jittered(attempt, RETRY_BASE_MS, RETRY_MAX_MS), signal)
      await this.#startAgain(attempt)
    }
  }

  /** Resolves to the milliseconds until the server was gone; at once for one that is gone already, or when stopping. */
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
        'embedded Postgres does not start: retrying',
      )
    }
  }
}
