import { Backoff } from '../backoff.ts'
import { networkError, StarciteError } from '../errors.ts'
import { countAnswer } from '../http/answers.ts'
import { type Http, withTimeout } from '../http/http.ts'
import { offlineErrorOr } from '../offline.ts'
import { PageWakeups } from '../pageWakeups.ts'
import { readFrame } from '../rawJson.ts'
import type { SessionEvent } from '../types.ts'
import type { Connections } from './connections.ts'
import { Connector } from './connector.ts'
import { type Cursor, queryOf } from './cursor.ts'
import { type End, isEnd, type Link, type Received } from './link.ts'
import type { TailTransport } from './transportChoice.ts'

export interface TailOptions {
  /** The seq of the last event seen. The tail yields the events after it. Default 0: all events. */
  readonly cursor?: number
  /**
   * The `inserted_at` of the event at the cursor. With it the tail ends with `history_changed` when the log has another event
   * there, because the database was restored since. A running tail checks this on its own at each reconnect.
   */
  readonly cursorInsertedAt?: string
  /** The maximum number of events in one message, 1 to 1000. Default 64. */
  readonly batchSize?: number
  /** False: the tail ends with the present last event. Default true: it goes on with live events. */
  readonly follow?: boolean
  /** Ends the tail without an error. */
  readonly signal?: AbortSignal
  /** Default: a WebSocket, or server-sent events where WebSockets do not work. */
  readonly transport?: TailTransport
  /** After this many milliseconds without data the tail checks whether it missed an event. Default 45,000. */
  readonly silenceMs?: number
  /** Called when the tail is connected, and when it waits before it reconnects. */
  readonly onConnection?: (state: TailState) => void
}

export type TailState =
  | { readonly at: 'open'; readonly cursor: number; readonly transport: 'websocket' | 'sse' }
  | { readonly at: 'waiting'; readonly cursor: number; readonly error: StarciteError; readonly ms: number }

const BACKOFF_BASE_MS = 250
const BACKOFF_MAX_MS = 15_000
const SILENCE_MS = 45_000
const CHECK_TIMEOUT_MS = 5000
/** A connection that lasted this long resets the back-off. */
const GOOD_MS = 5000
/** How often in a row a gap appears, or a token expires at once, before the tail ends with an error. */
const MAX_IN_A_ROW = 5

/** Yields every event after a cursor, in order, each once, over any number of connections. One instance per iteration. */
export class Tail<Events> {
  readonly #http: Http
  readonly #path: string
  readonly #options: TailOptions
  readonly #wakeups: PageWakeups
  readonly #backoff = new Backoff(BACKOFF_BASE_MS, BACKOFF_MAX_MS)
  readonly #connector: Connector
  #cursor: number
  /** With `follow: false`, the last seq of the session, once a connection has reported that the tail is complete. */
  #lastSeq: number | undefined
  #insertedAt: string | undefined
  #inARow = 0

  constructor(connections: Connections, sessionId: string, path: string, options: TailOptions) {
    this.#http = connections.http
    this.#path = path
    this.#options = options
    this.#cursor = options.cursor ?? 0
    this.#insertedAt = options.cursorInsertedAt
    this.#wakeups = new PageWakeups(options.signal ?? new AbortController().signal)
    this.#connector = new Connector(connections, sessionId, path, options)
  }

  async *events(): AsyncGenerator<SessionEvent<Events>, void, undefined> {
    try {
      while (!this.#isAborted) {
        const opened = await this.#open()
        if (opened === undefined) continue
        if (opened === 'finished') {
          if (await this.#isThrough()) return
          continue
        }
        const openedAt = Date.now()
        let end: End
        try {
          end = yield* this.#read(opened)
        } finally {
          opened.close()
        }
        if (this.#isAborted) return
        if (end.at === 'finished') {
          if (end.isCertain || (await this.#isThrough())) return
          continue
        }
        await this.#recover(end, Date.now() - openedAt)
      }
    } finally {
      this.#wakeups.stop()
    }
  }

  get #isAborted(): boolean {
    return this.#wakeups.signal.aborted
  }

  get #at(): Cursor {
    return { seq: this.#cursor, insertedAt: this.#insertedAt }
  }

  /** Opens a connection; undefined when that failed, after the wait before the next attempt. */
  async #open(): Promise<Link | 'finished' | undefined> {
    try {
      const link = await this.#connector.open(this.#at, this.#wakeups.signal)
      if (link === undefined) {
        if (this.#options.follow === false) return 'finished'
        throw new StarciteError('invalid_answer', 'an endless stream was answered 204', {
          status: 204,
          retryable: true,
        })
      }
      this.#options.onConnection?.({ at: 'open', cursor: this.#cursor, transport: this.#connector.transport })
      return link
    } catch (error) {
      if (this.#isAborted) return undefined
      if (!(error instanceof StarciteError) || !error.retryable) throw error
      if (error.code === 'events_missing' && this.#isGapPersistent()) throw error
      await this.#wait(error)
      return undefined
    }
  }

  /** Checks the end of a finite tail with the session's last seq, since an intermediary can end a connection as the server does. */
  async #isThrough(): Promise<boolean> {
    try {
      this.#lastSeq ??= await this.#connector.lastSeq(this.#wakeups.signal)
      if (this.#cursor >= this.#lastSeq) return true
      await this.#wait(
        networkError(`it ended after event ${this.#cursor} of ${this.#lastSeq}`, 'the tail was interrupted'),
      )
    } catch (error) {
      if (this.#isAborted) return true
      if (!(error instanceof StarciteError) || !error.retryable) throw error
      await this.#wait(error)
    }
    return this.#isAborted
  }

  /** Yields the events of one connection, and returns its end. */
  async *#read(link: Link): AsyncGenerator<SessionEvent<Events>, End, undefined> {
    for (;;) {
      const received = await this.#next(link)
      if (isEnd(received)) return received
      const events = readOr(() => (typeof received === 'string' ? readFrame(received) : received))
      if (isEnd(events)) return events
      for (const event of events as readonly SessionEvent<Events>[]) {
        if (this.#isAborted) return { at: 'finished', isCertain: true }
        if (event.seq <= this.#cursor) continue
        if (event.seq !== this.#cursor + 1) return this.#gapError(event.seq)
        this.#cursor = event.seq
        this.#insertedAt = event.inserted_at
        this.#inARow = 0
        this.#backoff.reset()
        yield event
      }
    }
  }

  /** The next events. After silence, and when the page wakes up, first checks that no event was missed. */
  async #next(link: Link): Promise<Received | End> {
    const silenceMs = this.#options.silenceMs ?? SILENCE_MS
    const coming = link.next()
    for (let checkedAt = 0; ; ) {
      const silentSince = Math.max(link.heardAt, checkedAt)
      const wait = this.#wakeups.start(silentSince + silenceMs - Date.now())
      const first = await Promise.race([coming, wait.over])
      wait.cancel()
      if (typeof first !== 'boolean') return first
      if (this.#isAborted) return { at: 'finished', isCertain: true }
      if (this.#wakeups.takeWentOffline()) return { at: 'broken', reason: 'the browser is offline' }
      if (!first && link.heardAt > silentSince) continue // data arrived meanwhile
      const missed = await this.#missed()
      if (missed !== undefined && link.heardAt <= silentSince) {
        link.check?.()
        return missed
      }
      checkedAt = Date.now()
    }
  }

  /** Reads after the cursor. Undefined when there is no event, so the connection may be good. */
  async #missed(): Promise<End | undefined> {
    try {
      const count = await withTimeout(CHECK_TIMEOUT_MS, this.#wakeups.signal, (signal) =>
        this.#http.answer(
          { path: `${this.#path}/events`, query: { ...queryOf(this.#at), limit: 1 }, signal },
          countAnswer,
        ),
      )
      if (count === 0) return undefined
      return { at: 'broken', reason: 'the connection fell silent' }
    } catch (error) {
      if (error instanceof StarciteError && !error.retryable) return { at: 'refused', error }
      return { at: 'broken', reason: `the connection fell silent: ${(error as Error)?.message}` }
    }
  }

  #gapError(seq: number): End {
    const details = { cursor: this.#cursor, seq }
    const message = `after event ${this.#cursor} came ${seq}`
    if (!this.#isGapPersistent()) return { at: 'broken', reason: message }
    return { at: 'refused', error: new StarciteError('events_missing', message, { details }) }
  }

  /** Counts a gap, and tells whether there were too many in a row. */
  #isGapPersistent(): boolean {
    this.#inARow += 1
    return this.#inARow >= MAX_IN_A_ROW
  }

  async #recover(end: End, lastedMs: number): Promise<void> {
    if (lastedMs >= GOOD_MS) this.#backoff.reset()
    if (end.at === 'refused') throw end.error
    if (end.at === 'interrupted') return
    if (end.at === 'expired') {
      this.#inARow = lastedMs >= GOOD_MS ? 0 : this.#inARow + 1
      const error = new StarciteError('token_expired', 'the token has expired', { status: 401 })
      if (this.#inARow >= MAX_IN_A_ROW || !(await this.#renewed())) throw error
      if (this.#inARow > 1) await this.#wait(error)
      return
    }
    await this.#wait(networkError(end.at === 'broken' ? end.reason : end.at, 'the tail was interrupted'))
  }

  /** Renews the token; false when that is impossible. A token function that fails is called again. */
  async #renewed(): Promise<boolean> {
    for (;;) {
      try {
        return (await this.#http.tokens.renew(this.#connector.token)) !== undefined
      } catch (error) {
        if (!(error instanceof StarciteError) || !error.retryable) throw error
        await this.#wait(error)
        if (this.#isAborted) return true
      }
    }
  }

  async #wait(trouble: StarciteError): Promise<void> {
    const ms = this.#backoff.next(trouble.retryAfterMs)
    const error = offlineErrorOr(trouble)
    this.#options.onConnection?.({ at: 'waiting', cursor: this.#cursor, error, ms })
    await this.#wakeups.wait(ms)
  }
}

/** Ends the connection when the data is not an event: then an intermediary has changed it. */
function readOr<T>(read: () => T): T | End {
  try {
    return read()
  } catch (error) {
    return { at: 'broken', reason: (error as Error).message }
  }
}
