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
  /** How often a comment says that the stream lives. */
  readonly keepAliveMs: number
  readonly stallPolicy: StallPolicy
  /** When the node drains, streams come back within this time, each after its own share of it. */
  readonly drainSpreadMs: number
  /** Whether its end says that the reader has everything: `follow=false`. */
  readonly isFinite?: boolean
}

/** How long a browser waits before it comes back; it asks with the id of the last event that it has. */
const RETRY_MS = 1000
/** The same after a fault that somebody has to mend first. */
const FAULT_RETRY_MS = 15_000

/** `Accept` names the type itself: every client that takes anything does not mean this. */
const acceptsEventStream = (accept: string): boolean => /(^|,)\s*text\/event-stream\s*(;|,|$)/i.test(accept)

/**
 * A tail, or a feed, as server-sent events (the HTML standard, "Server-sent events"). No line but an event's is followed
 * by an empty one, as a rule: common readers take every empty line for an event.
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
    // The server lets clients close their side and still answers them; of a stream that is how a reader leaves.
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

  /** Aborted when the stream has ended, from whichever side. */
  get signal(): AbortSignal {
    return this.#ended.signal
  }

  send(events: readonly Sendable[]): void {
    if (this.signal.aborted || events.length === 0) return
    this.#isEmpty = false
    // Chunks that are made once for all streams: in res.write most of the cost would be their making.
    if (this.#isChunked) this.#socket.write(joined(events.map((event) => encodingsOf(event).serverSentChunk)))
    else this.#res.write(events.map(serverSentOf).join(''))
  }

  /** Sends a message that has no id: JSON text. */
  tell(json: string): void {
    if (this.signal.aborted) return
    const message = serverSentData(json)
    if (this.#isChunked) this.#socket.write(serverSentChunk(message))
    else this.#res.write(message)
  }

  /** Gives a reader that has seen nothing the id to come back with. */
  standAt(id: string): void {
    this.#res.write(`id: ${id}\n\n`)
  }

  /** Whether the answer is sent in chunks, and on this socket by now: it may wait for the one before it. */
  get #isChunked(): boolean {
    return this.#res.chunkedEncoding && this.#res.socket === this.#socket
  }

  async room(signal: () => AbortSignal): Promise<void> {
    if (!(await socketDrained(this.#socket, this.#options.stallPolicy, signal))) this.#socket.destroy()
  }

  /** There is no more to come. A reader that saw nothing is given the id to come back with, and is told then to stop. */
  finish(cursor: Seq): void {
    if (this.signal.aborted) return
    if (this.#isEmpty) this.standAt(String(cursor))
    this.#ended.abort()
  }

  /** Ends a stream that has no end of its own: an orderly end of it says nothing but "come back". */
  end(): void {
    if (this.#options.isFinite) this.fail()
    else this.#ended.abort()
  }

  /**
   * Cuts the connection before the end of the body, so that no reader takes what it has for all there is. With an error,
   * sends it first, as an event of the error's name, which an EventSource passes over unless it listens for it.
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

  /** What was written leaves first. Without chunks the end of the connection is the end of the body, unless it is reset. */
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

/** Begins an answer that is an event stream. Proxies are asked neither to keep it nor to gather or rewrite it. */
export function beginEventStream(ctx: Context): void {
  ctx.status = 200
  ctx.set('Content-Type', 'text/event-stream; charset=utf-8')
  ctx.set('Cache-Control', 'no-cache, no-transform')
  ctx.set('X-Accel-Buffering', 'no')
  if (ctx.method === 'HEAD') return
  ctx.respond = false
  ctx.res.flushHeaders()
}

/** Whether a request asks for an event stream. An upgrade is one, whatever else it would accept. */
export const isEventStream = (ctx: UpgradeContext): boolean =>
  ctx.ws === undefined && acceptsEventStream(ctx.get('Accept'))
