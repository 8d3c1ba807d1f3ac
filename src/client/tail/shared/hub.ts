import { networkError, StarciteError } from '../../errors.ts'
import type { Http } from '../../http/http.ts'
import type { Cursor } from '../cursor.ts'
import type { End } from '../link.ts'
import type { TransportChoice } from '../transportChoice.ts'
import type { WebSocketConstructor } from '../webSocketLink.ts'
import { onPage } from './browser.ts'
import type { LiveFeed, LiveListener, Subscription } from './liveFeed.ts'
import type { MultiplexedEvents, MultiplexedLink } from './multiplexedLink.ts'
import { MultiplexedSocket } from './multiplexedSocket.ts'
import { MultiplexedStream } from './multiplexedStream.ts'
import { later } from './timer.ts'

/** How long the connection stays open without a follower, since a page may go from one session to the next. */
const LINGER_MS = 2000

interface Followed {
  cursor: Cursor
  readonly listeners: Set<LiveListener>
  readonly joined: Promise<void>
}

/**
 * The one connection of a page: opened for the first follower, and closed a little after the last. Followers of one session
 * share its events. When the connection ends, so do all subscriptions; the next follower opens another one.
 */
export class Hub implements LiveFeed {
  readonly #http: Http
  readonly #choice: TransportChoice
  readonly #WebSocket: WebSocketConstructor | undefined
  readonly #followed = new Map<string, Followed>()
  readonly #closed = new AbortController()
  readonly #stopHearing: () => void
  readonly #onIdle: () => void
  #source: Promise<MultiplexedLink> | undefined
  #current: MultiplexedLink | undefined
  #stopLinger = () => {}
  /** The number of subscriptions, including those that are being created. */
  #users = 0

  /** `onIdle` is called when no session is followed any more, and the connection is closed. */
  constructor(
    http: Http,
    choice: TransportChoice,
    WebSocket: WebSocketConstructor | undefined,
    onIdle: () => void = () => {},
  ) {
    this.#http = http
    this.#choice = choice
    this.#WebSocket = WebSocket
    this.#onIdle = onIdle
    // A browser that is offline may report the connection as open for a long time.
    this.#stopHearing = onPage(['offline'], () =>
      this.#endSource({ at: 'broken', reason: 'the browser is offline' }),
    )
  }

  get heardAt(): number {
    return this.#current?.heardAt ?? 0
  }

  /** Whether no session is followed, and there is no connection. */
  get isIdle(): boolean {
    return this.#source === undefined && this.#users === 0
  }

  async subscribe(sessionId: string, cursor: Cursor, listener: LiveListener): Promise<Subscription> {
    this.#stopLinger()
    this.#users += 1
    let leave = () => this.#lingerIfUnused()
    try {
      const source = await this.#connected()
      const followed = this.#followed.get(sessionId) ?? this.#follow(source, sessionId, cursor)
      const { seq: position } = followed.cursor
      followed.listeners.add(listener)
      leave = () => this.#leave(sessionId, followed, listener)
      await followed.joined
      return {
        position,
        transport: source.transport,
        get heardAt() {
          return source.heardAt
        },
        check: () => source.check(),
        leave: () => {
          leave()
          leave = () => {}
        },
      }
    } catch (error) {
      leave()
      throw error
    }
  }

  /** Ends every subscription, and accepts no more. */
  close(end: End): void {
    this.#closed.abort()
    this.#stopLinger()
    this.#stopHearing()
    this.#endSource(end)
  }

  #endSource(end: End): void {
    const source = this.#current
    this.#onEnd(end)
    source?.close()
  }

  #follow(source: MultiplexedLink, sessionId: string, cursor: Cursor): Followed {
    const place = { cursor, listeners: new Set<LiveListener>() }
    const followed: Followed = Object.assign(place, { joined: source.join(sessionId, place) })
    this.#followed.set(sessionId, followed)
    return followed
  }

  #leave(sessionId: string, followed: Followed, listener: LiveListener): void {
    followed.listeners.delete(listener)
    if (followed.listeners.size === 0 && this.#followed.get(sessionId) === followed) {
      this.#followed.delete(sessionId)
      this.#current?.leave(sessionId)
    }
    this.#lingerIfUnused()
  }

  #lingerIfUnused(): void {
    this.#users -= 1
    if (this.#users > 0) return
    this.#stopLinger()
    this.#stopLinger = later(LINGER_MS, () => {
      this.#endSource({ at: 'broken', reason: 'closed by the client' })
      this.#onIdle()
    })
  }

  #connected(): Promise<MultiplexedLink> {
    if (this.#source === undefined) {
      const source = this.#open()
      this.#source = source
      source.catch(() => {
        if (this.#source === source) this.#source = undefined
      })
    }
    return this.#source
  }

  async #open(): Promise<MultiplexedLink> {
    let [opened, hasEnded]: [MultiplexedLink?, boolean?] = []
    const events: MultiplexedEvents = {
      onEvents: (sessionId, texts) => this.#onEvents(sessionId, texts),
      onLeft: (sessionId, reason) => this.#onLeft(sessionId, { at: 'broken', reason }),
      onEnd: (end) => {
        hasEnded = true
        if (opened !== undefined && opened === this.#current) this.#onEnd(end)
      },
    }
    opened =
      this.#choice.transport === 'sse'
        ? new MultiplexedStream(this.#http, events)
        : await this.#openSocket(events)
    if (hasEnded || this.#closed.signal.aborted) {
      opened.close()
      throw networkError('the connection is over', 'the tail was not started')
    }
    this.#current = opened
    return opened
  }

  /** Opens a WebSocket. Followers have just read from the server over HTTP, so a failed handshake concerns WebSockets only. */
  async #openSocket(events: MultiplexedEvents): Promise<MultiplexedLink> {
    if (this.#WebSocket === undefined)
      throw new StarciteError(
        'websocket_missing',
        'no global WebSocket: pass one to the constructor of Starcite, or tail over SSE',
      )
    const token = await this.#http.tokens.current()
    const url = this.#http.url('/v1/socket/websocket', { vsn: '2.0.0', token })
    try {
      const { signal } = this.#closed
      const source = await MultiplexedSocket.open(this.#WebSocket, url.replace(/^http/, 'ws'), events, signal)
      this.#choice.worked()
      return source
    } catch (error) {
      if (!this.#closed.signal.aborted) this.#choice.failed()
      throw error instanceof StarciteError ? error : networkError(error, 'the WebSocket could not be opened')
    }
  }

  /** Passes on the events that continue the session; drops repeated ones, and those after a gap. */
  #onEvents(sessionId: string, texts: readonly string[]): void {
    const followed = this.#followed.get(sessionId)
    const newest = JSON.parse(texts.at(-1) ?? '{}') as { seq?: number; inserted_at?: string }
    if (followed === undefined || newest.seq === undefined) return
    const [first, { seq: position }] = [newest.seq - texts.length + 1, followed.cursor]
    if (first > position + 1 || newest.seq <= position) return
    followed.cursor = { seq: newest.seq, insertedAt: newest.inserted_at }
    for (const listener of [...followed.listeners]) listener.onEvents(first, texts)
  }

  #onLeft(sessionId: string, end: End): void {
    const followed = this.#followed.get(sessionId)
    this.#followed.delete(sessionId)
    for (const listener of [...(followed?.listeners ?? [])]) listener.onEnd(end)
  }

  #onEnd(end: End): void {
    this.#source = undefined
    this.#current = undefined
    for (const sessionId of [...this.#followed.keys()]) this.#onLeft(sessionId, end)
  }
}
