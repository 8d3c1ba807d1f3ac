import type { Db } from '../db/pool.ts'
import { type Idleness, NEVER_IDLE } from '../lib/idleness.ts'
import { Loop } from '../lib/loop.ts'
import type { Log } from '../ops/log.ts'
import { findUnsequenced, sequenceChanges } from './queries.ts'

export interface SequencerOptions {
  readonly db: Db
  /** How often to look for changes of which this node received no notification. */
  readonly pollIntervalMs: number
  /** Whether notifications of new heads arrive. */
  readonly isListening: () => boolean
  /** Feeds that have grown, by their keys. */
  readonly onFeedsGrown: (feeds: readonly string[]) => void
  readonly log: Log
  /** An idle node sends no periodic statement. */
  readonly idleness?: Idleness
}

/** Sessions in one call. */
const SESSIONS_PER_CALL = 1000
/** Sessions of one step of a search for missed changes. */
const SESSIONS_PER_SEARCH = 20_000
/** How often progress of sessions is sequenced. Postgres accepts each session once a second at most. */
const PROGRESS_INTERVAL_MS = 500
/** Above this number sessions are searched for instead of remembered. */
const MAX_MOVED = 100_000
/** The share of the time that searching takes at most, while notifications do not arrive. */
const SEARCH_SHARE = 0.1
const BACKOFF = { baseMs: 100, maxMs: 5000 }

/**
 * Gives changes of sessions their places in the feeds, after they have committed. Every node does it;
 * starcite.place_changes serializes them. To keep appends fast, the sequencer collects the sessions with new events from the
 * notifications of their heads. When some may have been lost, it searches all heads.
 *
 * resting → (a change of this node's, a session that moved, the poll interval) → placing → resting, until stopped. A
 * search goes on, a bounded step before each placing, until it has come to the last session.
 */
export class Sequencer {
  readonly #options: SequencerOptions
  readonly #loop: Loop
  /** Sessions that may have new events. */
  #moved = new Set<string>()
  #progressDueAt = 0
  #isChanged = true
  /** The sid up to which the search has come; undefined when no search is under way. */
  #searchedTo: string | undefined
  #searchStartedAt = 0
  #searchDueAt = 0
  #pollDueAt = 0

  constructor(options: SequencerOptions) {
    this.#options = options
    const { pollIntervalMs, log, idleness = NEVER_IDLE } = options
    this.#loop = new Loop({
      pass: (signal) => this.#pass(signal),
      intervalMs: pollIntervalMs,
      firstInMs: 0,
      gate: (signal) => idleness.awake(signal),
      backoff: BACKOFF,
      onFailure: (error, failures) => {
        log.warn({ err: error, failures }, 'sequencing session changes failed: retrying')
        this.#isChanged = true
      },
    })
  }

  start(): void {
    this.#loop.start()
  }

  stop(): Promise<void> {
    return this.#loop.stop()
  }

  /** Whether it knows of a change that has no place yet. */
  get isBehind(): boolean {
    return this.#isChanged || this.#moved.size > 0 || this.#searchedTo !== undefined
  }

  /** This node has committed a change of a session. */
  changed(): void {
    this.#isChanged = true
    this.#loop.wake()
  }

  /** A session may have new events. */
  moved(sid: string): void {
    if (this.#moved.size >= MAX_MOVED) this.checkAll()
    else this.#moved.add(sid)
    if (this.#moved.size === 1) this.#loop.wake()
  }

  /** Searches all heads: notifications may have been missed. */
  checkAll(): void {
    this.#searchedTo = '0'
    this.#searchStartedAt = performance.now()
    this.#loop.wake()
  }

  /** Does the work that is due; a wake may come earlier. Resolves with the milliseconds until more is due. */
  async #pass(signal: AbortSignal): Promise<number> {
    const restMs = this.#dueInMs
    if (restMs > 0) return restMs
    await this.#search()
    await this.#sequence(signal)
    this.#pollDueAt = performance.now() + this.#options.pollIntervalMs
    return this.#dueInMs
  }

  get #dueInMs(): number {
    if (this.#isChanged || this.#searchedTo !== undefined) return 0
    const progressDueAt = this.#moved.size > 0 ? this.#progressDueAt : Number.POSITIVE_INFINITY
    return Math.max(0, Math.min(this.#pollDueAt, progressDueAt) - performance.now())
  }

  async #search(): Promise<void> {
    const { db, isListening } = this.#options
    if (this.#searchedTo === undefined && !isListening() && performance.now() >= this.#searchDueAt)
      this.checkAll()
    const from = this.#searchedTo
    if (from === undefined || this.#moved.size + SESSIONS_PER_SEARCH > MAX_MOVED) return
    const { sids, last } = await findUnsequenced(db, from, SESSIONS_PER_SEARCH)
    for (const sid of sids) this.#moved.add(sid)
    if (sids.length > 0) this.#progressDueAt = 0
    if (this.#searchedTo !== from) return // another search has begun meanwhile
    this.#searchedTo = last
    const tookMs = performance.now() - this.#searchStartedAt
    this.#searchDueAt = performance.now() + tookMs / SEARCH_SHARE
  }

  async #sequence(signal: AbortSignal): Promise<void> {
    const isDue = performance.now() >= this.#progressDueAt
    const sids = isDue ? [...this.#moved] : []
    if (isDue) {
      this.#moved = new Set()
      this.#progressDueAt = performance.now() + PROGRESS_INTERVAL_MS
    }
    this.#isChanged = false
    try {
      for (let isMore = true; isMore || sids.length > 0; ) {
        const sequenced = await sequenceChanges(this.#options.db, sids.slice(0, SESSIONS_PER_CALL))
        sids.splice(0, SESSIONS_PER_CALL)
        for (const sid of sequenced.waiting) this.#moved.add(sid)
        if (sequenced.feeds.length > 0) this.#options.onFeedsGrown(sequenced.feeds)
        isMore = sequenced.isMore && !signal.aborted
      }
    } catch (error) {
      for (const sid of sids) this.#moved.add(sid)
      throw error
    }
  }
}
