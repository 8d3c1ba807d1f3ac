import { StarciteError } from '../errors.ts'
import { countAnswer, lastSeqAnswer } from '../http/answers.ts'
import type { Connections } from './connections.ts'
import { type Cursor, queryOf } from './cursor.ts'
import { EventStreamLink } from './eventStreamLink.ts'
import type { End, Link } from './link.ts'
import { PageReader } from './shared/pageReader.ts'
import { SharedLink } from './shared/sharedLink.ts'
import { endOf } from './shared/tokenClaims.ts'
import type { TailTransport, TransportChoice } from './transportChoice.ts'
import { WebSocketLink } from './webSocketLink.ts'

/** Small, so that a socket which cannot be paused holds little that was not asked for. */
const BATCH_SIZE = 64
/** Events that are read at a time over HTTP: a browser has few connections, and gives them back soon. */
const PAGE_SIZE = 256
const BOUNDS = { pauseAt: 262_144, closeAt: 4_194_304 }
/** The server took a token that is over by the clock of this side: which of the two is wrong is seen a little later. */
const RECHECK_TOKEN_MS = 60_000

export interface ConnectorOptions {
  readonly transport?: TailTransport
  readonly batchSize?: number
  readonly follow?: boolean
}

/** Opens the connections of one tail: its own, or a part of one that others use too. */
export class Connector {
  readonly #connections: Connections
  readonly #sessionId: string
  readonly #path: string
  readonly #requested: TailTransport
  readonly #choice: TransportChoice
  readonly #query: { batch_size: number; follow: false | undefined }
  readonly #pages: PageReader
  #isShared: boolean
  transport: 'websocket' | 'sse'
  /** The last that a connection was opened with. */
  token: string | undefined

  constructor(connections: Connections, sessionId: string, path: string, options: ConnectorOptions) {
    this.#connections = connections
    this.#sessionId = sessionId
    this.#path = path
    this.#requested = options.transport ?? 'auto'
    this.#choice = connections.choice(this.#requested)
    this.transport = this.#choice.transport
    const follow = options.follow === false ? false : undefined
    this.#query = { batch_size: options.batchSize ?? BATCH_SIZE, follow }
    this.#pages = new PageReader(connections.http, path, options.batchSize ?? PAGE_SIZE)
    this.#isShared = connections.areShared
  }

  /** Undefined when there is nothing to come. Rejects with StarciteError; `retryable` says whether to try again. */
  async open(cursor: Cursor, signal: AbortSignal): Promise<Link | undefined> {
    this.transport = this.#choice.transport
    const ends = this.#query.follow === false
    // A finite tail needs a connection for a while only; but of those that are no WebSockets a browser has six.
    if (this.#isShared && (!ends || this.transport === 'sse')) return this.#openShared(cursor, signal)
    return this.transport === 'sse' ? this.#openStream(cursor, signal) : this.#openSocket(cursor, signal)
  }

  async #openShared(cursor: Cursor, signal: AbortSignal): Promise<Link | undefined> {
    const follow = async (end: Cursor, link: SharedLink) => {
      this.token = await this.#connections.http.tokens.current()
      const live = await this.#connections.shared(this.#requested, this.token)
      return live.subscribe(this.#sessionId, end, link)
    }
    try {
      const ends = this.#query.follow === false
      const link = await SharedLink.open(this.#pages, ends ? undefined : follow, cursor, signal)
      this.transport = link.transport ?? this.transport
      const endsAt = endOf(this.token)
      if (endsAt !== undefined) link.endIn(endsAt > Date.now() ? endsAt - Date.now() : RECHECK_TOKEN_MS)
      return link
    } catch (error) {
      const isOlder = error instanceof StarciteError && /^(not_found|method_not_allowed)$/.test(error.code)
      if (!isOlder) throw error
      this.#isShared = false // a server of before `POST /v1/tails`
      return this.open(cursor, signal)
    }
  }

  async #openSocket(cursor: Cursor, signal: AbortSignal): Promise<Link> {
    const { http, WebSocket } = this.#connections
    if (WebSocket === undefined)
      throw new StarciteError(
        'websocket_missing',
        'there is no WebSocket here; hand one to the constructor of Starcite',
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
      // Where a stream ends does not say why; asked with the last id, the server answers 204 when there is no more.
      ...(ends && { headers: { 'last-event-id': String(cursor.seq) } }),
    }
    const whenDone: End = ends ? { at: 'interrupted' } : { at: 'broken', reason: 'the stream ended' }
    return EventStreamLink.open(this.#connections.http, call, { signal, whenDone })
  }
}
