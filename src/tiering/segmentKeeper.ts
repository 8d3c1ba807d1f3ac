import type { Db } from '../db/pool.ts'
import { pause } from '../lib/backoff.ts'
import { type Idleness, NEVER_IDLE } from '../lib/idleness.ts'
import type { Log } from '../ops/log.ts'
import { ensureSegments, writeSettings } from './queries.ts'

const MIN_PERIOD_MS = 500
const MAX_PERIOD_MS = 600_000

/**
 * Makes segments ahead of time, so that no append has to. Every node does it; they meet in starcite.ensure_segment.
 * A node that fails to only leaves the work to the next append.
 */
export class SegmentKeeper {
  readonly #db: Db
  readonly #intervalMs: number
  readonly #retentionMs: number
  readonly #log: Log
  readonly #idleness: Idleness
  readonly #stopping = new AbortController()
  #running: Promise<void> | undefined

  constructor(db: Db, intervalMs: number, retentionMs: number, log: Log, idleness = NEVER_IDLE) {
    this.#db = db
    this.#intervalMs = intervalMs
    this.#retentionMs = retentionMs
    this.#log = log
    this.#idleness = idleness
  }

  /** Resolves when the present segment stands. */
  async start(): Promise<void> {
    await writeSettings(this.#db, this.#intervalMs, this.#retentionMs)
    await ensureSegments(this.#db)
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
  }

  /** Makes partitions that are not there now, for an append that has found none. */
  async ensure(): Promise<void> {
    await ensureSegments(this.#db)
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping
    const periodMs = Math.min(MAX_PERIOD_MS, Math.max(MIN_PERIOD_MS, this.#intervalMs / 4))
    for (;;) {
      await pause(periodMs, signal)
      await this.#idleness.awake(signal) // an append that finds no segment makes one
      if (signal.aborted) return
      try {
        await ensureSegments(this.#db)
      } catch (error) {
        this.#log.warn({ err: error }, 'the next segment could not be made ahead of time')
      }
    }
  }
}
