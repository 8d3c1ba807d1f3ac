import { networkError, StarciteError } from '../../errors.ts'
import { elementsOf } from '../../rawJson.ts'
import { queryOf } from '../cursor.ts'
import type { End } from '../link.ts'
import type { WebSocketConstructor } from '../webSocketLink.ts'
import { WebSocketLink } from '../webSocketLink.ts'
import type { MultiplexedEvents, MultiplexedLink, SessionPosition } from './multiplexedLink.ts'
import { later } from './timer.ts'

const TOPIC = 'tail:'
const BATCH_SIZE = 64
/** The server closes a socket after 60 s of silence, and browsers delay the timers of hidden pages. */
const HEARTBEAT_MS = 20_000
const HEARTBEAT_TIMEOUT_MS = 10_000
const CHECK_TIMEOUT_MS = 2000
const JOIN_TIMEOUT_MS = 10_000
/** Every message is handed on when it arrives. */
const UNBOUNDED = { pauseAt: Number.POSITIVE_INFINITY, closeAt: Number.POSITIVE_INFINITY }
/** The member that the multiplexed socket adds to each event. */
const CURSOR = /\s*,\s*"cursor"\s*:\s*\d+\s*\}$/

interface Joining {
  readonly sessionId: string
  readonly resolve: () => void
  readonly reject: (error: StarciteError) => void
  readonly stopTimer: () => void
}

/** The multiplexed socket (docs/protocol.md): each session is a topic. */
export class MultiplexedSocket implements MultiplexedLink {
  readonly transport = 'websocket'
  readonly #link: WebSocketLink
  readonly #events: MultiplexedEvents
  /** The ref of the join of each session that is joined, or is being joined. */
  readonly #refs = new Map<string, string>()
  readonly #joining = new Map<string, Joining>()
  #lastRef = 0
  #heartbeat = ''
  #stopTimer = () => {}
  #hasEnded = false

  private constructor(link: WebSocketLink, events: MultiplexedEvents) {
    this.#link = link
    this.#events = events
    this.#beatLater()
    void this.#read()
  }

  static async open(
    make: WebSocketConstructor,
    url: string,
    events: MultiplexedEvents,
    signal: AbortSignal,
  ): Promise<MultiplexedSocket> {
    return new MultiplexedSocket(
      await WebSocketLink.open(make, url, { follow: true, bounds: UNBOUNDED, signal }),
      events,
    )
  }

  get heardAt(): number {
    return this.#link.heardAt
  }

  join(sessionId: string, { cursor }: SessionPosition): Promise<void> {
    const ref = this.#nextRef()
    this.#refs.set(sessionId, ref)
    return new Promise((resolve, reject) => {
      if (this.#hasEnded) return reject(ended('the connection is over'))
      const stopTimer = later(JOIN_TIMEOUT_MS, () =>
        this.#end({ at: 'broken', reason: `no answer within ${JOIN_TIMEOUT_MS / 1000} s` }),
      )
      this.#joining.set(ref, { sessionId, resolve, reject, stopTimer })
      this.#send(ref, ref, TOPIC + sessionId, 'phx_join', { ...queryOf(cursor), batch_size: BATCH_SIZE })
    })
  }

  leave(sessionId: string): void {
    const ref = this.#refs.get(sessionId)
    if (ref === undefined) return
    this.#refs.delete(sessionId)
    this.#send(ref, this.#nextRef(), TOPIC + sessionId, 'phx_leave', {})
  }

  check(): void {
    this.#beat(CHECK_TIMEOUT_MS)
  }

  close(): void {
    this.#end({ at: 'broken', reason: 'closed by the client' })
  }

  async #read(): Promise<void> {
    for (;;) {
      const received = await this.#link.next()
      if (typeof received !== 'string') return this.#end(received)
      try {
        this.#onFrame(received)
      } catch (error) {
        return this.#end({ at: 'broken', reason: (error as Error).message })
      }
    }
  }

  #onFrame(frame: string): void {
    const [joinRef, ref, topic, event, payload = '{}'] = elementsOf(frame)
    const sessionId = (JSON.parse(topic ?? '""') as string).slice(TOPIC.length)
    const isCurrent = joinRef !== undefined && this.#refs.get(sessionId) === JSON.parse(joinRef)
    switch (JSON.parse(event ?? '""')) {
      case 'events':
        if (isCurrent) this.#events.onEvents(sessionId, textsOf(payload))
        return
      case 'phx_reply':
        this.#onReply(JSON.parse(ref ?? 'null'), JSON.parse(payload))
        return
      case 'token_expired':
        this.#end({ at: 'expired' })
        return
      case 'phx_error':
      case 'phx_close':
      case 'session_erased':
        if (!isCurrent) return
        this.#refs.delete(sessionId)
        this.#events.onLeft(sessionId, 'the server ended the tail')
    }
  }

  #onReply(ref: string, { status, response }: { status: string; response: { reason?: string } }): void {
    const joining = this.#joining.get(ref)
    if (ref === this.#heartbeat) this.#beatLater()
    if (joining === undefined) return
    this.#joining.delete(ref)
    joining.stopTimer()
    if (status === 'ok') {
      joining.resolve()
      return
    }
    if (this.#refs.get(joining.sessionId) === ref) this.#refs.delete(joining.sessionId)
    const code = response.reason ?? 'refused'
    joining.reject(new StarciteError(code, `the tail was refused: ${code}`, { retryable: true }))
    if (code === 'token_expired') this.#end({ at: 'expired' })
  }

  /** Starts the timer of the next heartbeat after a response: browsers delay timers after a message least in hidden pages. */
  #beatLater(): void {
    this.#stopTimer()
    this.#stopTimer = later(HEARTBEAT_MS, () => this.#beat(HEARTBEAT_TIMEOUT_MS))
  }

  #beat(timeoutMs: number): void {
    if (this.#hasEnded) return
    this.#stopTimer()
    this.#stopTimer = later(timeoutMs, () =>
      this.#end({ at: 'broken', reason: 'the connection fell silent' }),
    )
    this.#heartbeat = this.#nextRef()
    this.#send(null, this.#heartbeat, 'phoenix', 'heartbeat', {})
  }

  #nextRef(): string {
    this.#lastRef += 1
    return String(this.#lastRef)
  }

  #send(joinRef: string | null, ref: string, topic: string, event: string, payload: object): void {
    if (!this.#hasEnded) this.#link.send(JSON.stringify([joinRef, ref, topic, event, payload]))
  }

  #end(end: End): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#stopTimer()
    this.#link.close()
    for (const { reject, stopTimer } of this.#joining.values()) {
      stopTimer()
      reject(ended(end.at === 'broken' ? end.reason : end.at))
    }
    this.#joining.clear()
    this.#events.onEnd(end)
  }
}

const ended = (reason: string) => networkError(reason, 'the tail was not started')

const textsOf = (payload: string): string[] =>
  elementsOf(payload, payload.indexOf('[')).map((text) => text.replace(CURSOR, '}'))
