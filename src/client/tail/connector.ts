import { StarciteError } from '../errors.ts'
import { countAnswer, lastSeqAnswer } from '../http/answers.ts'
import type { Connections } from './connections.ts'
import { type Cursor, queryOf } from './cursor.ts'
import { EventStreamLink } from './eventStreamLink.ts'
import type { End, Link } from './link.ts'
import { PageReader } from './pageReader.ts'
import type { SharedTail } from './shared/sharedConnections.ts'
import type { TailTransport, TransportChoice } from './transportChoice.ts'
import { WebSocketLink } from './webSocketLink.ts'

/** Events in one message. Small, so that a socket which cannot be paused buffers little. */
const BATCH_SIZE = 64
/** Events in one page over HTTP. Small, because a browser has few connections and must free them soon. */
const PAGE_SIZE = 256
const BOUNDS = { pauseAt: 262_144, closeAt: 4_194_304 }

export interface ConnectorOptions {
  readonly transport?: TailTransport
  readonly batchSize?: number
  readonly follow?: boolean
}

/** Opens the connections of one tail: its own, or its part of a shared one. */
export class Connector {
  readonly #connections: Connections
  readonly #path: string
  readonly #choice: TransportChoice
  readonly #query: { batch_size: number; follow: false | undefined }
  readonly #tail: SharedTail
  #isShared: boolean
  transport: 'websocket' | 'sse'
  /** The token of the last connection. */
  token: string | undefined

  constructor(connections: Connections, sessionId: string, path: string, options: ConnectorOptions) {
    this.#connections = connections
    this.#path = path
    const transport = options.transport ?? 'auto'
    this.#choice = connections.choice(transport)
    this.transport = this.#choice.transport
    const follow = options.follow === false ? false : undefined
    this.#query = { batch_size: options.batchSize ?? BATCH_SIZE, follow }
    const pages = new PageReader(connections.http, path, options.batchSize ?? PAGE_SIZE)
    this.#tail = { sessionId, pages, transport, follow: options.follow !== false }
    this.#isShared = connections.areShared
  }

  /** Opens a connection; undefined when a finite tail is complete. Rejects with StarciteError, `retryable` or not. */
  async open(cursor: Cursor, signal: AbortSignal): Promise<Link | undefined> {
    this.transport = this.#choice.transport
    const ends = this.#query.follow === false
    // A finite tail needs its connection only for a while. But a browser has only six that are not WebSockets.
    if (this.#isShared && (!ends || this.transport === 'sse')) return this.#openShared(cursor, signal)
    return this.#openOwn(cursor, signal)
  }

  /** Opens a shared connection. The first page is read while the code for sharing is loaded. */
  async #openShared(cursor: Cursor, signal: AbortSignal): Promise<Link | undefined> {
    const firstPage = this.#tail.pages.after(cursor, signal)
    const loaded = this.#connections.shared()
    try {
      const shared = await Promise.race([loaded, firstPage.then(() => loaded)])
      if (shared === undefined) return await this.#openOwn(cursor, signal)
      const link = await shared.open(this.#tail, firstPage, cursor, signal, (token) => {
        this.token = token
      })
      this.transport = link.transport ?? this.transport
      return link
    } catch (error) {
      const isOlder = error instanceof StarciteError && /^(not_found|method_not_allowed)$/.test(error.code)
      if (!isOlder) throw error
      this.#isShared = false // the server has no `POST /v1/tails` yet
      return this.open(cursor, signal)
    }
  }

  #openOwn(cursor: Cursor, signal: AbortSignal): Promise<Link | undefined> {
    return this.transport === 'sse' ? this.#openStream(cursor, signal) : this.#openSocket(cursor, signal)
  }

  async #openSocket(cursor: Cursor, signal: AbortSignal): Promise<Link> {
    const { http, WebSocket } = this.#connections
    if (WebSocket === undefined)
      throw new StarciteError(
        'websocket_missing',
        'no global WebSocket: pass one to the constructor of Starcite, or tail over SSE',
      )
    this.token = await http.tokens.current()
    const url = http.url(`${this.#path}/tail`, {
      ...this.#query,
      ...queryOf(cursor),
      access_token: this.token,
    })
    const follow = this.#query.follow !== false
    try {
      const link = await WebSocketLink.open(WebSocket, url.replace(/^http/, 'ws'), {
        follow,
        bounds: BOUNDS,
        signal,
      })
      this.#choice.worked()
      return link
    } catch (error) {
      await this.#explain(cursor, signal)
      this.#choice.failed()
      throw error
    }
  }

  /** Throws the reason why a handshake failed. A browser hides it, but reading the session fails for the same reasons. */
  async #explain(at: Cursor, signal: AbortSignal): Promise<void> {
    const { seq: cursor, insertedAt } = at
    const last_seq = await this.lastSeq(signal)
    if (cursor > last_seq)
      throw new StarciteError(
        'cursor_ahead',
        `cursor ${cursor} is ahead of the session: its last_seq is ${last_seq}`,
        {
          status: 409,
          details: { last_seq },
        },
      )
    if (insertedAt !== undefined)
      await this.#connections.http.answer(
        { path: `${this.#path}/events`, query: { ...queryOf(at), limit: 1 }, signal },
        countAnswer,
      )
  }

  lastSeq(signal: AbortSignal): Promise<number> {
    return this.#connections.http.answer({ path: this.#path, signal }, lastSeqAnswer)
  }

  #openStream(cursor: Cursor, signal: AbortSignal): Promise<Link | undefined> {
    const ends = this.#query.follow === false
    const call = {
      path: `${this.#path}/tail`,
      query: { ...queryOf(cursor), follow: this.#query.follow },
      // The end of a stream has no reason. Asked again with the last id, the server answers 204 when the tail is complete.
      ...(ends && { headers: { 'last-event-id': String(cursor.seq) } }),
    }
    const whenDone: End = ends ? { at: 'interrupted' } : { at: 'broken', reason: 'the stream ended' }
    return EventStreamLink.open(this.#connections.http, call, { signal, whenDone })
  }
}
