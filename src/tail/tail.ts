import { jittered, pause } from '../lib/backoff.ts'
import { endOfTurn } from '../lib/endOfTurn.ts'
import type { Hub } from '../live/hub.ts'
import type { Subscription } from '../live/subscription.ts'
import type { EndReason } from '../live/tailedSession.ts'
import type { Log } from '../ops/log.ts'
import type { Metrics } from '../ops/metrics.ts'
import { AppError } from '../protocol/errors.ts'
import type { RenderedEvent, Seq } from '../protocol/event.ts'
import { TailEnd } from './end.ts'
import type { EventLog, LogReader } from './log.ts'

/** Where a tail's events go. It only frames and sends; what and when is the tail's. */
export interface Sink {
  /** Whether a next page may be read while one is on its progress; it costs a page of memory. */
  readonly readsAhead: boolean
  /** Resolves when the transport has room for a page, or the signal is aborted; that is asked for only to wait. */
  room(signal: () => AbortSignal): Promise<void>
  /** Hands the events to the transport, which buffers what the peer does not take at once. Asked for room before. */
  send(frames: readonly RenderedEvent[]): void
}

export interface TailOptions {
  readonly sid: string
  /** The session's, as the caller has read it: nothing is shown that had lost its content by then. */
  readonly epoch?: number
  readonly cursor: Seq
  /** Undefined: for ever. Else the tail ends with this seq. */
  readonly until: Seq | undefined
  readonly sink: Sink
  readonly signal: AbortSignal
}

/** The state of a running tail. */
interface TailProgress {
  cursor: Seq
  readonly until: Seq | undefined
  /** The page after the cursor, when it is being read already. */
  ahead: Promise<readonly RenderedEvent[]> | undefined
  /** What the subscription's was when that page was asked for. */
  removals: number
  readonly subscription: Subscription
  readonly reader: LogReader
  readonly end: TailEnd
}

const RETRY_BASE_MS = 50
const RETRY_MAX_MS = 2000

/**
 * Delivers every event after a cursor, each once, in order, from whatever tier. Pull-based: wait for the hub until
 * there is something, wait until the transport has room, read a page, send it, repeat. So replay and live are the same
 * loop and there is no hand-over to race.
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
   * Resolves when `until` was delivered or the signal aborted. Rejects with session_erased or history_changed once the
   * session is over, whatever the tail is waiting for; on a fault, with nothing skipped.
   */
  async run(options: TailOptions): Promise<void> {
    // Before the first read, so that nothing falls in between.
    const subscription = this.#hub.register(options.sid, options.epoch)
    const end = new TailEnd(subscription, options.signal)
    try {
      await this.#deliver(subscription, end, options)
    } catch (error) {
      // Of a session that is over, reading failed because there is nothing any more.
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

  /** Apart from the loop, so that a tail which waits holds nothing of the page that it sent last. */
  async #sendPage(progress: TailProgress, sink: Sink): Promise<void> {
    const { end } = progress
    await sink.room(() => end.signal())
    if (end.isReached) return
    // What was read ahead may show what is gone by now: the transport may have had no room for long.
    if (progress.removals !== progress.subscription.removals) progress.ahead = undefined
    progress.removals = progress.subscription.removals
    const read = await (progress.ahead ?? this.#read(progress, progress.cursor))
    progress.ahead = undefined
    // Read before the server changed, perhaps: shown only when the log still is what it was.
    if (progress.subscription.isUnverified) await progress.subscription.verified(end.signal())
    // Nobody is shown what the hub does not know of, for that would not be compared.
    const page = upTo(
      read,
      Math.min(progress.until ?? Number.POSITIVE_INFINITY, progress.subscription.knownSeq),
    )
    const last = page.at(-1)
    if (end.isReached || last === undefined) return
    const isLive = progress.subscription.after(last.seq, 1)?.length === 0
    if (sink.readsAhead && !isLive && last.seq !== progress.until) {
      progress.ahead = this.#read(progress, last.seq)
      progress.ahead.catch(() => {}) // reported when it is awaited, if it ever is
      await endOfTurn() // so that Postgres is asked before this page keeps the thread busy
      if (end.isReached || progress.removals !== progress.subscription.removals) return
    }
    progress.cursor = last.seq
    sink.send(page)
    if (isLive) this.#metrics.tailLag((Date.now() - last.at / 1000) / 1000)
  }

  /** A database or an object store that is away makes a tail wait, not fail. */
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

/** What waiting does not mend. */
const isFinal = (error: unknown): boolean =>
  error instanceof AppError && ['history_damaged', 'history_changed', 'session_erased'].includes(error.code)

/** What a reader is told when its session is over. */
export const endError = (reason: EndReason): AppError =>
  reason === 'session_erased'
    ? new AppError(reason, 'the session was erased')
    : new AppError(reason, 'the log went back behind what was read of it: read the session again')

function upTo(page: readonly RenderedEvent[], until: Seq): readonly RenderedEvent[] {
  if ((page.at(-1)?.seq ?? 0) <= until) return page
  return page.filter((frame) => frame.seq <= until)
}
