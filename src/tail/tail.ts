import { jittered, pause } from '../lib/backoff.ts'
import { endOfTurn } from '../lib/endOfTurn.ts'
import type { Hub } from '../live/hub.ts'
import type { SeenLog } from '../live/queries.ts'
import type { Subscription } from '../live/subscription.ts'
import type { EndReason } from '../live/tailedSession.ts'
import type { Log } from '../ops/log.ts'
import type { Metrics } from '../ops/metrics.ts'
import { AppError } from '../protocol/errors.ts'
import type { RenderedEvent, Seq } from '../protocol/event.ts'
import { TailEnd } from './end.ts'
import type { EventLog, LogReader } from './log.ts'

/** The transport of a tail. It encodes and sends; the tail decides what is sent, and when. */
export interface Sink {
  /** Whether the next page may be read while one is being sent, which costs a page of memory. */
  readonly readsAhead: boolean
  /** Resolves when the transport has room for a page, or the signal is aborted. `signal` is called only when it has to wait. */
  room(signal: () => AbortSignal): Promise<void>
  /** Hands the events to the transport, which buffers what the peer does not read at once. Called after `room`. */
  send(events: readonly RenderedEvent[]): void
}

export interface TailOptions {
  readonly sid: string
  /** The log as the caller has read it: nothing of another log, and no content that was removed before, is sent. */
  readonly seen?: SeenLog
  readonly cursor: Seq
  /** The seq with which the tail ends; undefined for a tail without an end. */
  readonly until: Seq | undefined
  readonly sink: Sink
  readonly signal: AbortSignal
}

/** The state of a running tail. */
interface TailProgress {
  cursor: Seq
  readonly until: Seq | undefined
  /** The page after the cursor, when it is read ahead. */
  ahead: Promise<readonly RenderedEvent[]> | undefined
  /** The subscription's `removals` when that page was requested. */
  removals: number
  readonly subscription: Subscription
  readonly reader: LogReader
  readonly end: TailEnd
}

const RETRY_BASE_MS = 50
const RETRY_MAX_MS = 2000

/**
 * Delivers every event after a cursor, each once, in order, from all tiers. Pull-based: wait until the hub reports new events,
 * wait until the transport has room, read a page, send it, repeat. Replay and live are the same loop, so no hand-over between
 * them can race.
 */
export class Tails {
  readonly #hub: Hub
  readonly #eventLog: EventLog
  readonly #log: Log
  readonly #metrics: Metrics

  constructor(hub: Hub, eventLog: EventLog, log: Log, metrics: Metrics) {
    this.#hub = hub
    this.#eventLog = eventLog
    this.#log = log
    this.#metrics = metrics
  }

  /**
   * Runs a tail. Resolves when `until` was delivered or the signal is aborted. Rejects with session_erased or history_changed as
   * soon as the session is over, and on a fault. It never skips an event.
   */
  async run(options: TailOptions): Promise<void> {
    // Registers before the first read, so that no event falls in between.
    const subscription = this.#hub.register(options.sid, options.seen)
    const end = new TailEnd(subscription, options.signal)
    try {
      await this.#deliver(subscription, end, options)
    } catch (error) {
      // When the session is over, reading failed because its events are gone.
      if (subscription.endReason === undefined) {
        if (!isFinal(error)) this.#metrics.tailFault()
        throw error
      }
    } finally {
      end.release()
      subscription.close()
    }
    if (subscription.endReason !== undefined && !options.signal.aborted)
      throw endError(subscription.endReason)
  }

  async #deliver(subscription: Subscription, end: TailEnd, options: TailOptions): Promise<void> {
    const { cursor, until, sink, signal } = options
    const reader = this.#eventLog.reader(subscription)
    const { removals } = subscription
    const progress: TailProgress = { cursor, until, ahead: undefined, removals, subscription, reader, end }
    await subscription.ready(signal)
    while (until === undefined || progress.cursor < until) {
      await subscription.changed(progress.cursor, signal)
      if (end.isReached) return
      await this.#sendPage(progress, sink)
      if (progress.ahead === undefined) end.release()
    }
    await sink.room(() => end.signal()) // the last page has left
  }

  /** Reads and sends one page. A method of its own, so that a waiting tail does not hold the last page in memory. */
  async #sendPage(progress: TailProgress, sink: Sink): Promise<void> {
    const { end } = progress
    await sink.room(() => end.signal())
    if (end.isReached) return
    // A page that was read ahead may have content that was removed while the transport had no room.
    if (progress.removals !== progress.subscription.removals) progress.ahead = undefined
    progress.removals = progress.subscription.removals
    const read = await (progress.ahead ?? this.#read(progress, progress.cursor))
    progress.ahead = undefined
    // The page may be from before a change of the server: it is sent only after the log was verified.
    if (progress.subscription.isUnverified) await progress.subscription.verified(end.signal())
    // Events that the hub does not know are not sent: they would not be compared after a failover.
    const page = upTo(
      read,
      Math.min(progress.until ?? Number.POSITIVE_INFINITY, progress.subscription.knownSeq),
    )
    const last = page.at(-1)
    if (end.isReached || last === undefined) return
    const isLive = progress.subscription.after(last.seq, 1)?.length === 0
    if (sink.readsAhead && !isLive && last.seq !== progress.until) {
      progress.ahead = this.#read(progress, last.seq)
      progress.ahead.catch(() => {}) // reported when it is awaited, if it is
      await endOfTurn() // the query is sent before this page keeps the thread busy
      if (end.isReached || progress.removals !== progress.subscription.removals) return
    }
    progress.cursor = last.seq
    sink.send(page)
    if (isLive) this.#metrics.tailLag((Date.now() - last.at / 1000) / 1000)
  }

  /** Reads the page after the cursor. Retries while the database or the object store is unavailable. */
  async #read({ reader, end }: TailProgress, cursor: Seq): Promise<readonly RenderedEvent[]> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await reader.after(cursor)
      } catch (error) {
        if (end.isReached) return []
        if (isFinal(error)) throw error
        this.#log.warn({ err: error, attempt }, 'a tail failed to read its next page: retrying')
        await pause(jittered(attempt, RETRY_BASE_MS, RETRY_MAX_MS), end.signal())
      }
    }
  }
}

/** Whether a retry cannot help. */
const isFinal = (error: unknown): boolean =>
  error instanceof AppError && ['history_damaged', 'history_changed', 'session_erased'].includes(error.code)

/** The error for readers of a session that is over. */
export const endError = (reason: EndReason): AppError =>
  reason === 'session_erased'
    ? new AppError(reason, 'the session was erased')
    : new AppError(reason, 'the log went back behind events that were sent: read the session again')

function upTo(page: readonly RenderedEvent[], until: Seq): readonly RenderedEvent[] {
  if ((page.at(-1)?.seq ?? 0) <= until) return page
  return page.filter((event) => event.seq <= until)
}
