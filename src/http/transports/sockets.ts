import { setMaxListeners } from 'node:events'
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import { pause } from '../../lib/backoff.ts'
import type { UnreadBudget } from '../../lib/unreadBudget.ts'
import { AppError, type Close } from '../../protocol/errors.ts'

export interface SocketsOptions {
  readonly pingIntervalMs: number
  readonly maxSockets: number
  readonly drainSpreadMs: number
}

/** How long a peer has to complete the close of its connection before the node cuts it. */
export const CLOSE_TIMEOUT_MS = 2000

export type Transport = 'websocket' | 'sse' | 'phoenix'

/** A connection that stays open until its peer or the node closes it. */
export interface LongLived {
  readonly transport: Transport
  /** Pings the peer, and cuts the connection when earlier pings were not answered. Absent where the peer itself sends heartbeats. */
  ping?(): void
  /** Closes the connection, so that the peer reconnects to another node with its cursors. Resolves when it is closed. */
  leave(): Promise<void>
}

/** The long-lived connections of a node. It limits their number, pings them, and closes them one after the other when the node drains. */
export class Sockets {
  readonly #options: SocketsOptions
  readonly #open = new Set<LongLived>()
  readonly #draining = new AbortController()
  readonly #pinging: NodeJS.Timeout

  constructor(options: SocketsOptions) {
    this.#options = options
    setMaxListeners(0, this.#draining.signal) // each waiting request has one
    this.#pinging = setInterval(() => this.#ping(), options.pingIntervalMs)
    this.#pinging.unref()
  }

  get counts(): Readonly<Record<Transport, number>> {
    const counts = { websocket: 0, sse: 0, phoenix: 0 }
    for (const { transport } of this.#open) counts[transport] += 1
    return counts
  }

  /** Aborted when the node begins to drain, for requests that wait without a long-lived connection. */
  get draining(): AbortSignal {
    return this.#draining.signal
  }

  /** Throws draining, or too_many_sockets at the limit. */
  assertNotFull(): void {
    if (this.#draining.signal.aborted)
      throw new AppError('draining', 'the node is shutting down; connect again', { retry_after_ms: 0 })
    if (this.#open.size >= this.#options.maxSockets)
      throw new AppError(
        'too_many_sockets',
        `the node's limit of ${this.#options.maxSockets} open connections is reached; connect again later`,
        {
          retry_after_ms: 1000,
        },
      )
  }

  /** Registers a connection until its TCP connection closes, or the returned function is called. */
  add(connection: LongLived, socket: Socket): () => void {
    this.#open.add(connection)
    const remove = () => {
      socket.off('close', remove)
      this.#open.delete(connection)
    }
    socket.once('close', remove)
    return remove
  }

  /** Closes all connections, spread over a few seconds so that clients do not reconnect at once. */
  async drain(): Promise<void> {
    this.#draining.abort()
    clearInterval(this.#pinging)
    const open = [...this.#open]
    const stepMs = this.#options.drainSpreadMs / Math.max(1, open.length)
    const started = performance.now()
    await Promise.all(
      open.map(async (connection, i) => {
        await pause(Math.max(0, i * stepMs - (performance.now() - started)))
        await connection.leave()
      }),
    )
  }

  #ping(): void {
    for (const connection of this.#open) connection.ping?.()
  }
}

/** Closes a WebSocket, and cuts it when the peer does not complete the close in time. Resolves when it is closed. */
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

/** How long, and with how much unread data, the node waits for a peer that does not read. */
export interface StallPolicy {
  readonly stallMs: number
  readonly unread: UnreadBudget
  /** The key under which unread data is accounted. */
  readonly holder: unknown
  /** The pages that its tail has in memory: the one that is sent, or also the next. */
  readonly pages?: 1 | 2
}

/**
 * Resolves with true when everything written has left this process or the signal is aborted. Resolves with false when the peer
 * read nothing for `stallMs` (Node's socket time-out, which progress of a write resets), or the memory for unread data is full.
 * `askSignal` is called only when there is something to wait for.
 */
export function socketDrained(
  socket: Socket,
  { stallMs, unread, holder, pages = 1 }: StallPolicy,
  askSignal: () => AbortSignal,
): Promise<boolean> {
  if (!socket.writableNeedDrain) return Promise.resolve(true)
  const signal = askSignal()
  if (signal.aborted) return Promise.resolve(true)
  return new Promise((resolve) => {
    let taken = () => {}
    const settle = (drained: boolean) => {
      taken()
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
    taken = unread.add(holder, pages * socket.writableLength, stalled)
  })
}
