import { networkError, StarciteError } from '../../errors.ts'
import type { Http } from '../../http/http.ts'
import { elementsOf } from '../../rawJson.ts'
import { queryOf } from '../cursor.ts'
import { EventStreamLink } from '../eventStreamLink.ts'
import type { End } from '../link.ts'
import type { MultiplexedEvents, MultiplexedLink, SessionPosition } from './multiplexedLink.ts'
import { later } from './timer.ts'

/** Sessions that are joined within this time share one request. */
const JOIN_MS = 10
/** The delay before a new request after a session is left: until then it costs only its events. */
const LEAVE_MS = 1000
/** The server sends a comment every 15 s. */
const SILENCE_MS = 40_000
const WATCH_MS = 10_000
const ENDED: End = { at: 'broken', reason: 'the stream ended' }
const EVENTS = /^\{"session_id":("(?:[^"\\]|\\.)*"),"events":(?=\[)/

interface Joined {
  readonly place: SessionPosition
  readonly settle: { resolve(): void; reject(error: unknown): void }
}

/**
 * One event stream for all sessions (`POST /v1/tails`). A request cannot be changed, so each change of the sessions opens a new
 * stream from the positions of the sessions. The old stream is read until the new one is open.
 */
export class MultiplexedStream implements MultiplexedLink {
  readonly transport = 'sse'
  readonly #http: Http
  readonly #events: MultiplexedEvents
  readonly #abort = new AbortController()
  readonly #sessions = new Map<string, Joined>()
  #link: EventStreamLink | undefined
  #isOpening = false
  /** The sessions changed while the stream was being opened. */
  #isStale = false
  #due: { readonly at: number; readonly stop: () => void } | undefined
  #stopWatch = () => {}

  constructor(http: Http, events: MultiplexedEvents) {
    this.#http = http
    this.#events = events
    this.#watch()
  }

  get heardAt(): number {
    return this.#link?.heardAt ?? 0
  }

  join(sessionId: string, place: SessionPosition): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#abort.signal.aborted)
        return reject(networkError('the stream is over', 'the tail was not started'))
      this.#sessions.set(sessionId, { place, settle: { resolve, reject } })
      this.#openIn(JOIN_MS)
    })
  }

  leave(sessionId: string): void {
    if (this.#sessions.delete(sessionId)) this.#openIn(LEAVE_MS)
  }

  check(): void {
    this.#openIn(0)
  }

  close(): void {
    this.#end({ at: 'broken', reason: 'closed by the client' })
  }

  #openIn(ms: number): void {
    const at = Date.now() + ms
    if (this.#abort.signal.aborted || (this.#due !== undefined && this.#due.at <= at)) return
    this.#due?.stop()
    this.#due = { at, stop: later(ms, () => void this.#open()) }
  }

  async #open(): Promise<void> {
    this.#due = undefined
    if (this.#isOpening) {
      this.#isStale = true
      return
    }
    if (this.#sessions.size === 0 || this.#abort.signal.aborted) return
    this.#isOpening = true
    this.#isStale = false
    const tails = [...this.#sessions].map(([session_id, { place }]) => ({
      session_id,
      ...queryOf(place.cursor),
    }))
    try {
      const call = { method: 'POST', path: '/v1/tails', body: JSON.stringify({ tails }) }
      const link = await EventStreamLink.open(this.#http, call, {
        signal: this.#abort.signal,
        whenDone: ENDED,
      })
      if (link === undefined) throw networkError('no content', 'the event stream could not be opened')
      this.#link?.close()
      this.#link = link
      void this.#read(link)
    } catch (error) {
      this.#end({ at: 'broken', reason: (error as Error).message }, error)
    } finally {
      this.#isOpening = false
      if (this.#isStale) this.#openIn(0)
    }
  }

  async #read(link: EventStreamLink): Promise<void> {
    for (;;) {
      const received = await link.next()
      if (link !== this.#link) return
      if (typeof received !== 'string') return this.#end(received)
      try {
        this.#onMessage(received)
      } catch (error) {
        return this.#end({ at: 'broken', reason: (error as Error).message })
      }
    }
  }

  #onMessage(data: string): void {
    const [head, id] = EVENTS.exec(data) ?? []
    if (head !== undefined && id !== undefined) {
      this.#events.onEvents(JSON.parse(id), elementsOf(data, head.length))
      return
    }
    const { session_id: sessionId, error, message } = JSON.parse(data) as Record<string, string>
    const joined = this.#sessions.get(sessionId ?? '')
    if (sessionId === undefined || joined === undefined) return
    if (error === undefined) {
      joined.settle.resolve()
      return
    }
    this.#sessions.delete(sessionId)
    joined.settle.reject(new StarciteError(error, message ?? error, { retryable: true }))
    this.#events.onLeft(sessionId, message ?? error)
  }

  #watch(): void {
    this.#stopWatch = later(WATCH_MS, () => {
      if (this.#link && Date.now() - this.#link.heardAt > SILENCE_MS)
        return this.#end({ at: 'broken', reason: 'the connection fell silent' })
      this.#watch()
    })
  }

  #end(end: End, cause: unknown = networkError('the stream ended', 'the tail was not started')): void {
    if (this.#abort.signal.aborted) return
    this.#abort.abort()
    this.#stopWatch()
    this.#due?.stop()
    this.#link?.close()
    for (const { settle } of this.#sessions.values()) settle.reject(cause)
    this.#sessions.clear()
    this.#events.onEnd(end)
  }
}
