import type { Db } from '../db/pool.ts'
import { ClockBound } from '../lib/clockBound.ts'
import { NEVER_IDLE } from '../lib/idleness.ts'
import { Loop } from '../lib/loop.ts'
import type { Log } from '../ops/log.ts'
import { ensureSegments, readClock, writeSettings } from './queries.ts'

const MIN_PERIOD_MS = 500
const MAX_PERIOD_MS = 600_000

/**
 * Creates partitions ahead of time, so that no append has to. Every node does it, and starcite.ensure_segment
 * serializes them. When a node fails to, the next append creates the partition.
 */
export class PartitionCreator {
  readonly #db: Db
  readonly #intervalMs: number
  readonly #retentionMs: number
  readonly #log: Log
  readonly #clock = new ClockBound()
  readonly #loop: Loop
  #isAhead = false

  constructor(db: Db, intervalMs: number, retentionMs: number, log: Log, idleness = NEVER_IDLE) {
    this.#db = db
    this.#intervalMs = intervalMs
    this.#retentionMs = retentionMs
    this.#log = log
    this.#loop = new Loop({
      pass: () => this.ensure(),
      intervalMs: Math.min(MAX_PERIOD_MS, Math.max(MIN_PERIOD_MS, intervalMs / 4)),
      gate: (signal) => idleness.awake(signal), // an append that finds no segment creates one
      onFailure: (error) => log.warn({ err: error }, 'creating the next segment ahead of time failed'),
    })
  }

  /** Resolves when the current segment exists. */
  async start(): Promise<void> {
    await writeSettings(this.#db, this.#intervalMs, this.#retentionMs)
    await this.ensure()
    this.#loop.start()
  }

  stop(): Promise<void> {
    return this.#loop.stop()
  }

  /**
   * The latest time that the database's clock can show, in milliseconds since the epoch; undefined before the start.
   */
  get latestTime(): number | undefined {
    return this.#clock.latest
  }

  /** Creates the segments and partitions that should exist now; none while the database's clock is ahead. */
  async ensure(): Promise<void> {
    const { latest } = this.#clock
    const now = await readClock(this.#db)
    const isAhead = this.#clock.read(now) === 'ahead'
    if (isAhead && !this.#isAhead)
      this.#log.error(
        { clock: timeOf(now), latest: timeOf(latest ?? now) },
        'database clock jumped ahead: appends are refused until the clock is right again or has held for a minute',
      )
    if (!isAhead && this.#isAhead) this.#log.warn({ clock: timeOf(now) }, 'database clock is trusted again')
    this.#isAhead = isAhead
    if (!isAhead) await ensureSegments(this.#db)
  }
}

const timeOf = (ms: number): string => new Date(ms).toISOString()
