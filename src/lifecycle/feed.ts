import type { Db } from '../db/pool.ts'
import { jittered, pause } from '../lib/backoff.ts'
import { Loop } from '../lib/loop.ts'
import type { Log } from '../ops/log.ts'
import type { Metrics } from '../ops/metrics.ts'
import { AppError, replicaLags } from '../protocol/errors.ts'
import { type Cursor, renderCursor } from './cursor.ts'
import { type LifecycleEvent, renderEntry } from './entry.ts'
import { Follower, Followers } from './followers.ts'
import {
  type FeedState,
  type PageBounds,
  readEntries,
  readFeedHeads,
  readFeedSecret,
  readFeedState,
} from './queries.ts'

/** The transport of a feed's events. */
export interface LifecycleSink {
  /** Resolves when the transport has room for a page, or the signal is aborted. `signal` is called only when it has to wait. */
  room(signal: () => AbortSignal): Promise<void>
  /** Hands the events to the transport; an empty list gives the room back. */
  send(events: readonly LifecycleEvent[]): void
}

export interface FollowOptions {
  readonly tenantId: string
  readonly cursor: Cursor
  readonly sink: LifecycleSink
  readonly signal: AbortSignal
}

export interface FeedOptions {
  readonly db: Db
  /** How often the ends of followed feeds are read, also while notifications arrive. */
  readonly pollIntervalMs: number
  readonly log: Log
  readonly metrics: Metrics
}

export interface FeedPage {
  readonly events: readonly LifecycleEvent[]
  /** Whether a bound ended the page, and not the feed. */
  readonly isMore: boolean
}

/** A slow reader costs its node one page. */
export const FEED_BOUNDS: PageBounds = { entries: 500, bytes: 256 * 1024 }
const RETRY_BASE_MS = 50
const RETRY_MAX_MS = 2000

/**
 * Delivers the changes of a tenant's sessions from a cursor on, in one order that only grows at its end. Pull-based like tails:
 * wait until there may be something, wait for room, read a page, send it, repeat. Notifications only wake it.
 */
export class LifecycleFeed {
  readonly #options: FeedOptions
  readonly #followers = new Followers()
  /** Reads under way: followers at the same place share one page. */
  readonly #reads = new Map<string, Promise<FeedPage>>()
  /** Finds what notifications miss, and everything while the listener is down. */
  readonly #polling: Loop
  /** Counts the times at which the database may have gone back. */
  #verifications = 0

  constructor(options: FeedOptions) {
    this.#options = options
    this.#polling = new Loop({
      pass: () => this.#poll(),
      intervalMs: options.pollIntervalMs,
      onFailure: (error) =>
        options.log.warn(
          { err: error, tenants: this.#followers.tenantIds.length },
          'polling the ends of lifecycle feeds failed',
        ),
    })
  }

  start(): void {
    this.#polling.start()
  }

  stop(): Promise<void> {
    return this.#polling.stop()
  }

  get followers(): number {
    return this.#followers.size
  }

  /** Takes the hint, from any source, that the feeds with these keys have grown. */
  grown(feeds: readonly string[]): void {
    for (const key of feeds) this.#followers.hint(key)
  }

  /** Polls now: notifications may have been missed. */
  checkAll(): void {
    this.#polling.wake()
  }

  /**
   * The start of a reader: its cursor or, without one, the end of the feed, with the time of the entry there. Throws
   * invalid_cursor for a cursor beyond the end, which would miss the next entries; history_changed when the feed has another
   * entry there.
   */
  async startAt(tenantId: string, wanted: Cursor | undefined): Promise<Cursor> {
    const state = await readFeedState(this.#options.db, tenantId, wanted?.place)
    const at = state.at ?? state.before
    if (wanted === undefined) return { ...state.head, at }
    if (isBeyond(wanted, state)) {
      assertNotReplica(state)
      throw new AppError('invalid_cursor', 'cursor is beyond the end of this feed', { field: 'cursor' })
    }
    if (!isOf(wanted, state)) throw changed()
    return { ...wanted, at: wanted.at ?? at }
  }

  /** The database may have gone back: sends nothing to followers before their cursors were compared with it. */
  verifyAll(): void {
    this.#verifications += 1
    for (const tenantId of this.#followers.tenantIds) this.#followers.wake(tenantId)
  }

  /** The page after a cursor. Rejects with history_damaged when a change is missing; it never skips one. */
  after(tenantId: string, cursor: Cursor): Promise<FeedPage> {
    const key = `${renderCursor(cursor)} ${tenantId}`
    let read = this.#reads.get(key)
    if (read === undefined) {
      read = this.#read(tenantId, cursor).finally(() => this.#reads.delete(key))
      this.#reads.set(key, read)
    }
    return read
  }

  /**
   * Sends the feed to a sink. Resolves when the signal is aborted. Rejects with history_damaged when a change is missing, and with
   * history_changed when the feed went back behind what was sent.
   */
  async follow({ tenantId, cursor: start, sink, signal }: FollowOptions): Promise<void> {
    const follower = new Follower(tenantId, start.place)
    let verifications = this.#verifications
    const leave = this.#followers.add(follower) // before the first read, so that no change falls in between
    try {
      for (let [cursor, isMore] = [start, false]; ; ) {
        if (!isMore) await follower.woken(signal)
        await sink.room(() => signal)
        if (signal.aborted) return
        const page = await this.#retrying(() => this.after(tenantId, cursor), signal)
        if (signal.aborted || page === undefined) return
        if (verifications !== this.#verifications) {
          verifications = this.#verifications
          await this.#retrying(() => this.#compare(tenantId, cursor), signal)
          isMore = true // the page may be from before the feed went back: it is read again
          continue
        }
        sink.send(page.events)
        cursor = page.events.at(-1)?.cursor ?? cursor
        follower.place = cursor.place
        isMore = page.isMore
      }
    } finally {
      leave()
    }
  }

  async #read(tenantId: string, start: Cursor): Promise<FeedPage> {
    const { entries: most, bytes: mostBytes } = FEED_BOUNDS
    const entries = await readEntries(this.#options.db, tenantId, start.place, FEED_BOUNDS)
    const events: LifecycleEvent[] = []
    let cursor = start
    let bytes = 0
    for (const entry of entries) {
      if (entry.kind !== 'appended' && entry.number !== cursor.number + 1)
        this.#failOnGap(tenantId, cursor.number + 1, entry.number)
      for (const event of renderEntry(entry, cursor)) {
        events.push(event)
        cursor = event.cursor
        bytes += Buffer.byteLength(event.text)
      }
    }
    return { events, isMore: entries.length === most || bytes >= mostBytes }
  }

  #failOnGap(tenant: string, missing: number, found: number): never {
    const { log, metrics } = this.#options
    metrics.historyDamaged()
    log.error({ tenant, missing, found }, 'history is damaged: a change is missing in a lifecycle feed')
    throw new AppError('history_damaged', `change ${missing} of the feed is missing; ${found} follows`)
  }

  async #compare(tenantId: string, cursor: Cursor): Promise<void> {
    const { db, log, metrics } = this.#options
    if (isIn(await readFeedState(db, tenantId, cursor.place), cursor)) return
    db.renew() // the answer may be from a server that is no longer the primary
    const state = await readFeedState(db, tenantId, cursor.place)
    if (isIn(state, cursor)) return
    metrics.historyChanged()
    log.error({ tenant: tenantId, cursor, head: state.head }, 'a lifecycle feed went back')
    throw changed()
  }

  /** Retries while the database is unavailable. Undefined when the signal was aborted. */
  async #retrying<T>(read: () => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await read()
      } catch (error) {
        if (signal.aborted) return undefined
        if (error instanceof AppError && FINAL.has(error.code)) throw error
        this.#options.log.warn({ err: error, attempt }, 'reading a lifecycle feed failed: retrying')
        await pause(jittered(attempt, RETRY_BASE_MS, RETRY_MAX_MS), signal)
      }
    }
  }

  async #poll(): Promise<void> {
    const { db } = this.#options
    const tenantIds = this.#followers.tenantIds
    if (tenantIds.length === 0) return
    if (!this.#followers.knowsSecret) this.#followers.secret = await readFeedSecret(db)
    for (const [tenantId, { place }] of await readFeedHeads(db, tenantIds))
      this.#followers.wake(tenantId, place)
  }
}

/** Errors that a retry cannot help. */
const FINAL: ReadonlySet<string> = new Set(['history_damaged', 'history_changed'])

const isBeyond = ({ place, number }: Cursor, { head }: FeedState): boolean =>
  place > head.place || number > head.number

/**
 * Whether the feed still has the entry of the cursor, with its place and time. Progress moves to a new place: then its old place
 * is empty, and no entry before it has a later time (sql/place_changes.sql).
 */
function isOf({ at: seen }: Cursor, { at, before = 0 }: FeedState): boolean {
  if (seen === undefined) return true
  return at === undefined ? before <= seen : at === seen
}

/** Whether the cursor is in the feed. Throws storage_unavailable on a replica that lags. */
function isIn(state: FeedState, cursor: Cursor): boolean {
  if (!isBeyond(cursor, state)) return isOf(cursor, state)
  assertNotReplica(state)
  return false
}

function assertNotReplica({ isReplica }: FeedState): void {
  if (isReplica) throw replicaLags()
}

const changed = () =>
  new AppError(
    'history_changed',
    'the feed went back behind this cursor: list the sessions again, and follow the feed without a cursor',
  )
