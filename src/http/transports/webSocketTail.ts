import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { Principal } from '../../auth/principal.ts'
import { onTokenEnd } from '../../auth/tokenEnd.ts'
import { CLOSE, type Close } from '../../protocol/errors.ts'
import type { RenderedEvent } from '../../protocol/event.ts'
import type { Sink } from '../../tail/tail.ts'
import { stallPolicyOf } from '../context.ts'
import type { Call } from '../operation.ts'
import { encodingsOf } from './encodings.ts'
import { openWebSocket } from './openWebSocket.ts'
import { closeSocket, type LongLived, type StallPolicy, socketDrained } from './sockets.ts'
import { closeOf, knownEnd } from './tailEnd.ts'

/** After this many unanswered pings the node closes the connection. */
const MAX_MISSED_PINGS = 2

/** A raw WebSocket. Its peer sends nothing, so the node pings it. */
class RawWebSocket implements LongLived {
  readonly transport = 'websocket'
  readonly #ws: WebSocket
  #missedPings = 0

  constructor(ws: WebSocket) {
    this.#ws = ws
    ws.on('pong', () => {
      this.#missedPings = 0
    })
  }

  ping(): void {
    if (this.#missedPings >= MAX_MISSED_PINGS) this.#ws.terminate()
    else {
      this.#missedPings += 1
      this.#ws.ping()
    }
  }

  leave(): Promise<void> {
    return closeSocket(this.#ws, CLOSE.draining)
  }
}

/** Sends one event per text frame, or arrays of up to `batchSize` events. */
class WebSocketSink implements Sink {
  readonly readsAhead = true
  readonly #ws: WebSocket
  readonly #socket: Socket
  readonly #batchSize: number | undefined
  readonly #stallPolicy: StallPolicy
  readonly #onStalled: () => void

  constructor(
    ws: WebSocket,
    socket: Socket,
    options: { batchSize: number | undefined; stallPolicy: StallPolicy; onStalled: () => void },
  ) {
    this.#ws = ws
    this.#socket = socket
    this.#batchSize = options.batchSize
    this.#stallPolicy = options.stallPolicy
    this.#onStalled = options.onStalled
  }

  send(events: readonly RenderedEvent[]): void {
    if (this.#ws.readyState !== this.#ws.OPEN) return
    this.#socket.cork() // one system call for the page, not two for each event
    if (this.#batchSize === undefined)
      for (const event of events) this.#ws.send(encodingsOf(event).bytes, { binary: false })
    else
      for (let i = 0; i < events.length; i += this.#batchSize) {
        const batch = events.slice(i, i + this.#batchSize)
        this.#ws.send(`[${batch.map((event) => event.text).join(',')}]`)
      }
    this.#socket.uncork()
  }

  async room(signal: () => AbortSignal): Promise<void> {
    if (!(await socketDrained(this.#socket, this.#stallPolicy, signal))) this.#onStalled()
  }
}

/** Sends a tail to a sink until it ends or the signal is aborted. */
type RunTail = (sink: Sink, signal: AbortSignal) => Promise<void>

interface ServedTail {
  /** Undefined: each event is one frame. */
  readonly batchSize: number | undefined
  readonly run: RunTail
  /** Called when `run` is rejected with an unexpected error. */
  onFault(error: unknown): void
}

/**
 * Responds with a WebSocket on which a tail is sent. Owns what the tail holds until its end: its place in the principal's
 * quota of tails, its registration with the node, which drains it, and the watch over its token. Throws draining,
 * too_many_sockets, too_many_tails. Resolves when the socket is open.
 */
export async function serveWebSocketTail(
  call: Pick<Call, 'ctx' | 'principal' | 'services'>,
  served: ServedTail,
): Promise<void> {
  const { ctx, principal, services } = call
  const { socket } = ctx.req
  services.sockets.assertNotFull()
  const release = services.tailQuota.take(principal)
  const ws = await openWebSocket(call, (opened) => new RawWebSocket(opened)).catch((error) => {
    release()
    throw error
  })
  if (ws === undefined) return release()
  const { batchSize } = served
  const stallPolicy: StallPolicy = { ...stallPolicyOf(services, ctx), pages: 2 }
  const run = (signal: AbortSignal, onStalled: () => void) =>
    served.run(new WebSocketSink(ws, socket, { batchSize, stallPolicy, onStalled }), signal)
  // Not awaited: the handshake is complete.
  void runAndClose(ws, principal, run, served.onFault).finally(release)
}

/** Runs a tail on an open socket, and closes the socket with the code for the end of the tail. */
async function runAndClose(
  ws: WebSocket,
  principal: Principal,
  run: (signal: AbortSignal, onStalled: () => void) => Promise<void>,
  onFault: (error: unknown) => void,
): Promise<void> {
  const ended = new AbortController()
  let close: Close = CLOSE.finished
  const end = (why: Close) => {
    close = why
    ended.abort()
  }
  ws.on('message', () => {}) // inbound frames are ignored
  ws.once('close', () => ended.abort())
  const unwatch = onTokenEnd(principal, end)
  try {
    await run(ended.signal, () => end(CLOSE.slow))
  } catch (error) {
    const known = knownEnd(error)
    if (known === undefined) onFault(error)
    close = closeOf(known)
  } finally {
    unwatch()
  }
  await closeSocket(ws, close)
}
