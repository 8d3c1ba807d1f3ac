import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Context } from 'koa'
import type { LifecycleSink } from '../../lifecycle/feed.ts'
import type { AppError } from '../../protocol/errors.ts'
import type { Seq } from '../../protocol/event.ts'
import type { Sink } from '../../tail/tail.ts'
import { encodingsOf, type Sendable, serverSentOf } from './encodings.ts'
import { serverSentChunk, serverSentData } from './serverSentEvent.ts'
import { CLOSE_TIMEOUT_MS, type LongLived, type StallPolicy, socketDrained } from './sockets.ts'
import type { UpgradeContext } from './upgrade.ts'

export interface EventStreamOptions {
  /** The interval of comments that keep the connection alive. */
  readonly keepAliveMs: number
  readonly stallPolicy: StallPolicy
  /** When the node drains, readers reconnect after a random part of this time. */
  readonly drainSpreadMs: number
  /** Whether its end says that the reader has everything: `follow=false`. */
  readonly isFinite?: boolean
}

/** How long an EventSource waits before it reconnects with the id of its last event. */
const RETRY_MS = 1000
/** The same after an error that an operator has to repair. */
const FAULT_RETRY_MS = 15_000

/** Whether `Accept` names the type. A client that accepts everything does not ask for an event stream. */
const acceptsEventStream = (accept: string): boolean => /(^|,)\s*text\/event-stream\s*(;|,|$)/i.test(accept)

/**
 * A tail or a feed as server-sent events (HTML standard, "Server-sent events"). An empty line follows events alone, with few
 * exceptions, because common readers take every empty line for the end of an event.
 */
export class EventStream implements Sink, LifecycleSink, LongLived {
  readonly transport = 'sse'
  readonly readsAhead = true
  readonly #res: ServerResponse
  readonly #socket: Socket
  readonly #options: EventStreamOptions
  readonly #ended = new AbortController()
  #isEmpty = true
  #isCut = false

  constructor({ req, res }: Context, options: EventStreamOptions) {
    this.#res = res
    this.#socket = req.socket
    this.#options = options
    const end = () => this.#ended.abort()
    // Half-closed clients still receive their response, but a reader that half-closes a stream leaves it.
    this.#socket.once('close', end).once('end', end)
    const keepingAlive = setInterval(() => this.#keepAlive(), options.keepAliveMs)
    this.signal.addEventListener('abort', () => {
      clearInterval(keepingAlive)
      this.#socket.off('close', end).off('end', end)
      if (this.#isCut) this.#cut()
      else res.end()
    })
    res.write(`retry: ${RETRY_MS}\n`)
  }

  /** Aborted when the node or the reader has ended the stream. */
  get signal(): AbortSignal {
    return this.#ended.signal
  }

  send(events: readonly Sendable[]): void {
    if (this.signal.aborted || events.length === 0) return
    this.#isEmpty = false
    // The chunk of an event is made once for all streams. `res.write` would make a new one for each, which is most of its cost.
    if (this.#isChunked) this.#socket.write(joined(events.map((event) => encodingsOf(event).serverSentChunk)))
    else this.#res.write(events.map(serverSentOf).join(''))
  }

  /** Sends JSON text as a message without an id. */
  tell(json: string): void {
    if (this.signal.aborted) return
    const message = serverSentData(json)
    if (this.#isChunked) this.#socket.write(serverSentChunk(message))
    else this.#res.write(message)
  }

  /** Gives a reader that has received no event the id to reconnect with. */
  standAt(id: string): void {
    this.#res.write(`id: ${id}\n\n`)
  }

  /** Whether the response is chunked and has the socket: a pipelined response waits for the one before it. */
  get #isChunked(): boolean {
    return this.#res.chunkedEncoding && this.#res.socket === this.#socket
  }

  async room(signal: () => AbortSignal): Promise<void> {
    if (!(await socketDrained(this.#socket, this.#options.stallPolicy, signal))) this.#socket.destroy()
  }

  /** Ends the stream after its last event. A reader that received no event gets the id to reconnect with, and then a 204. */
  finish(cursor: Seq): void {
    if (this.signal.aborted) return
    if (this.#isEmpty) this.standAt(String(cursor))
    this.#ended.abort()
  }

  /** Ends a stream early, so that its reader reconnects. The orderly end of an endless stream means no more than that. */
  end(): void {
    if (this.#options.isFinite) this.fail()
    else this.#ended.abort()
  }

  /**
   * Cuts the connection before the end of the body, so that no reader takes the part that it has for the whole. Sends the
   * error first, if any, as an event with the name of its code, which an EventSource ignores unless it listens for it.
   */
  fail(error?: AppError): void {
    if (this.signal.aborted) return
    if (error) {
      this.#res.write(`retry: ${FAULT_RETRY_MS}\nevent: ${error.code}\ndata: ${JSON.stringify(error)}\n\n`)
    }
    this.#isCut = true
    this.#ended.abort()
  }

  async leave(): Promise<void> {
    if (this.signal.aborted) return
    this.#res.write(`retry: ${Math.round(RETRY_MS / 2 + Math.random() * this.#options.drainSpreadMs)}\n`)
    const gone = new Promise<void>((resolve) => {
      const timer = setTimeout(() => this.#socket.destroy(), CLOSE_TIMEOUT_MS)
      const settle = () => {
        clearTimeout(timer)
        this.#res.off('finish', settle)
        this.#socket.off('close', settle)
        resolve()
      }
      this.#res.once('finish', settle)
      this.#socket.once('close', settle)
    })
    this.end()
    await gone
  }

  /** Cuts the connection once everything is written. Without chunks it resets it, since a plain end would end the body. */
  #cut(): void {
    if (!this.#isChunked) this.#socket.resetAndDestroy()
    else {
      this.#socket.end()
      const timer = setTimeout(() => this.#socket.destroy(), CLOSE_TIMEOUT_MS)
      this.#socket.once('close', () => clearTimeout(timer))
    }
  }

  #keepAlive(): void {
    if (!this.#socket.writableNeedDrain) this.#res.write(':\n')
  }
}

const joined = (parts: readonly Buffer[]): Buffer =>
  parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts)

/** Begins a response that is an event stream, with headers that forbid proxies to cache, buffer or transform it. */
export function beginEventStream(ctx: Context): void {
  ctx.status = 200
  ctx.set('Content-Type', 'text/event-stream; charset=utf-8')
  ctx.set('Cache-Control', 'no-cache, no-transform')
  ctx.set('X-Accel-Buffering', 'no')
  if (ctx.method === 'HEAD') return
  ctx.respond = false
  ctx.res.flushHeaders()
}

/** Whether a request asks for an event stream. A WebSocket handshake does not, regardless of its `Accept`. */
export const isEventStream = (ctx: UpgradeContext): boolean =>
  ctx.ws === undefined && acceptsEventStream(ctx.get('Accept'))
