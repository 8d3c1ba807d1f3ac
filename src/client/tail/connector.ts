import { StarciteError } from '../errors.ts'
import { countAnswer, lastSeqAnswer } from '../http/answers.ts'
import type { Http } from '../http/http.ts'
import { EventStreamLink } from './eventStreamLink.ts'
import type { End, Link } from './link.ts'
import { type WebSocketConstructor, WebSocketLink } from './webSocketLink.ts'

export type TailTransport = 'auto' | 'websocket' | 'sse'

/** Small, so that a socket which cannot be paused holds little that was not asked for. */
const BATCH_SIZE = 64
const BOUNDS = { pauseAt: 262_144, closeAt: 4_194_304 }
/** Handshakes that fail while the same server answers HTTP, before something in between is taken for the reason. */
const MAX_FAILED_HANDSHAKES = 2

/** The last event that was seen. */
export interface Cursor {
  readonly seq: number
  /** As the event shows it; undefined when it is not known. */
  readonly insertedAt: string | undefined
}

export const queryOf = ({ seq, insertedAt }: Cursor) => ({ cursor: seq, cursor_inserted_at: insertedAt })

/** Opens the connections of one tail, and settles on the transport that works. */
export class Connector {
  readonly #http: Http
  readonly #path: string
  readonly #query: { batch_size: number; follow: false | undefined }
  readonly #WebSocket: WebSocketConstructor | undefined
  readonly #mayFallBack: boolean
  #failedHandshakes = 0
  transport: 'websocket' | 'sse'
  /** The last that a WebSocket was opened with. */
  token: string | undefined

  constructor(
    http: Http,
    path: string,
    follow: boolean,
    options: { readonly transport?: TailTransport; readonly batchSize?: number },
    WebSocket: WebSocketConstructor | undefined,
  ) {
    this.#http = http
    this.#path = path
    this.#query = { batch_size: options.batchSize ?? BATCH_SIZE, follow: follow ? undefined : false }
    this.#WebSocket = WebSocket
    const wanted = options.transport ?? 'auto'
    this.#mayFallBack = wanted === 'auto'
    this.transport = wanted === 'sse' || (wanted === 'auto' && WebSocket === undefined) ? 'sse' : 'websocket'
  }

  /**
   * Undefined when there is nothing to come. Rejects with StarciteError; `retryable` says whether to try again. With the
   * time of the event at the cursor the server checks that its log still has that event there.
   */
  open(cursor: Cursor, signal: AbortSignal): Promise<Link | undefined> {
    return this.transport === 'sse' ? this.#openStream(cursor, signal) : this.#openSocket(cursor, signal)
  }

  async #openSocket(cursor: Cursor, signal: AbortSignal): Promise<Link> {
    if (this.#WebSocket === undefined)
      throw new StarciteError(
        'websocket_missing',
        'there is no WebSocket here; hand one to the constructor of Starcite',
      )
    this.token = await this.#http.tokens.current()
    const url = this.#http.url(`${this.#path}/tail`, {
      ...this.#query,
      ...queryOf(cursor),
      access_token: this.token,
    })
    const follow = this.#query.follow !== false
    try {
      const link = await WebSocketLink.open(this.#WebSocket, url.replace(/^http/, 'ws'), {
        follow,
        bounds: BOUNDS,
        signal,
      })
      this.#failedHandshakes = Number.NEGATIVE_INFINITY // WebSockets work here
      return link
    } catch (error) {
      await this.#explain(cursor, signal)
      this.#failedHandshakes += 1
      if (this.#mayFallBack && this.#failedHandshakes >= MAX_FAILED_HANDSHAKES) this.transport = 'sse'
      throw error
    }
  }

  /** A browser does not say why a handshake failed, so the session is asked for: that fails for the same reasons. */
  async #explain(at: Cursor, signal: AbortSignal): Promise<void> {
    const { seq: cursor, insertedAt } = at
    const last_seq = await this.lastSeq(signal)
    if (cursor > last_seq)
      throw new StarciteError('cursor_ahead', `cursor is ${cursor}, the session is at ${last_seq}`, {
        status: 409,
        details: { last_seq },
      })
    if (insertedAt !== undefined)
      await this.#http.answer(
        { path: `${this.#path}/events`, query: { ...queryOf(at), limit: 1 }, signal },
        countAnswer,
      )
  }

  lastSeq(signal: AbortSignal): Promise<number> {
    return this.#http.answer({ path: this.#path, signal }, lastSeqAnswer)
  }

  #openStream(cursor: Cursor, signal: AbortSignal): Promise<Link | undefined> {
    const ends = this.#query.follow === false
    const call = {
      path: `${this.#path}/tail`,
      query: { ...queryOf(cursor), follow: this.#query.follow },
      // Where a stream ends does not say why; asked with the last id, the server answers 204 when there is no more.
      ...(ends && { headers: { 'last-event-id': String(cursor.seq) } }),
    }
    const whenDone: End = ends ? { at: 'interrupted' } : { at: 'broken', reason: 'the stream ended' }
    return EventStreamLink.open(this.#http, call, { signal, whenDone })
  }
}
