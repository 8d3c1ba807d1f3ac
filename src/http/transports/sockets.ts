import { setMaxListeners } from 'node:events'
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import { pause } from '../../lib/backoff.ts'
import { CLOSE, type Close } from '../../protocol/errors.ts'

export interface SocketsOptions {
  readonly pingIntervalMs: number
  readonly maxSockets: number
  readonly drainSpreadMs: number
}

/** How long a peer has to answer our close before the connection is cut. */
const CLOSE_TIMEOUT_MS = 2000
/** Pings that may go unanswered; at this many the peer is taken for dead. */
const MAX_MISSED_PINGS = 2

interface Peer {
  readonly ws: WebSocket
  missedPings: number
}

/** The WebSockets of a node: counted against a bound, pinged, and at the end sent away one after the other. */
export class Sockets {
  readonly #options: SocketsOptions
  readonly #peers = new Set<Peer>()
  readonly #draining = new AbortController()
  readonly #pinging: NodeJS.Timeout

  constructor(options: SocketsOptions) {
    this.#options = options
    setMaxListeners(0, this.#draining.signal) // one for each request that waits
    this.#pinging = setInterval(() => this.#ping(), options.pingIntervalMs)
    this.#pinging.unref()
  }

  get count(): number {
    return this.#peers.size
  }

  get isFull(): boolean {
    return this.#peers.size >= this.#options.maxSockets
  }

  /** Aborted when the node begins to drain: whoever waits without a socket comes back elsewhere. */
  get draining(): AbortSignal {
    return this.#draining.signal
  }

  add(ws: WebSocket): void {
    const peer: Peer = { ws, missedPings: 0 }
    this.#peers.add(peer)
    ws.on('pong', () => {
      peer.missedPings = 0
    })
    ws.once('close', () => this.#peers.delete(peer))
  }

  /** Closes every socket with 1012, spread over a few seconds so that the peers do not return as one wave. */
  async drain(): Promise<void> {
    this.#draining.abort()
    clearInterval(this.#pinging)
    const peers = [...this.#peers]
    const stepMs = this.#options.drainSpreadMs / Math.max(1, peers.length)
    const started = performance.now()
    await Promise.all(
      peers.map(async ({ ws }, i) => {
        await pause(i * stepMs - (performance.now() - started))
        await closeSocket(ws, CLOSE.draining)
      }),
    )
  }

  #ping(): void {
    for (const peer of this.#peers) {
      if (peer.missedPings >= MAX_MISSED_PINGS) peer.ws.terminate()
      else {
        peer.missedPings += 1
        peer.ws.ping()
      }
    }
  }
}

/** Says goodbye and resolves when the connection is gone; cuts it when the peer does not answer in time. */
export function closeSocket(ws: WebSocket, { code, reason }: Close): Promise<void> {
  return new Promise((resolve) => {
    if (ws.readyState === ws.CLOSED) return resolve()
    const timer = setTimeout(() => ws.terminate(), CLOSE_TIMEOUT_MS)
    ws.once('close', () => {
      clearTimeout(timer)
      resolve()
    })
    ws.close(code, reason)
  })
}

/**
 * Resolves when what was written has left this process, true; or, false, when the peer took nothing at all for
 * `stallMs` (Node's socket time-out, which a write that makes progress pushes back). Resolves at once when the signal
 * is aborted.
 */
export function socketDrained(socket: Socket, stallMs: number, signal: AbortSignal): Promise<boolean> {
  if (!socket.writableNeedDrain || signal.aborted) return Promise.resolve(true)
  return new Promise((resolve) => {
    const settle = (drained: boolean) => {
      socket.setTimeout(0)
      socket.off('drain', done).off('close', done).off('timeout', stalled)
      signal.removeEventListener('abort', done)
      resolve(drained)
    }
    const done = () => settle(true)
    const stalled = () => settle(false)
    socket.setTimeout(stallMs)
    socket.on('drain', done).on('close', done).on('timeout', stalled)
    signal.addEventListener('abort', done, { once: true })
  })
}
