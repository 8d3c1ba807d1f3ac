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

/** How long a peer has to take our goodbye before the connection is cut. */
export const CLOSE_TIMEOUT_MS = 2000

export type Transport = 'websocket' | 'sse' | 'phoenix'

/** A connection that lives for as long as its peer wants. */
export interface LongLived {
  readonly transport: Transport
  /** Asks for a sign of life, and cuts a peer that gave none; for those whose peers would otherwise be silent. */
  ping?(): void
  /** Sends the peer away, to come back elsewhere with its cursors. Resolves when the connection is gone. */
  leave(): Promise<void>
}

/** The long-lived connections of a node: counted against a bound, pinged, at the end sent away one after the other. */
export class Sockets {
  readonly #options: SocketsOptions
  readonly #open = new Set<LongLived>()
  readonly #draining = new AbortController()
  readonly #pinging: NodeJS.Timeout

  constructor(options: SocketsOptions) {
    this.#options = options
    setMaxListeners(0, this.#draining.signal) // one for each request that waits
    this.#pinging = setInterval(() => this.#ping(), options.pingIntervalMs)
    this.#pinging.unref()
  }

  get counts(): Readonly<Record<Transport, number>> {
    const counts = { websocket: 0, sse: 0, phoenix: 0 }
    for (const { transport } of this.#open) counts[transport] += 1
    return counts
  }

  /** Aborted when the node begins to drain: whoever waits without a socket comes back elsewhere. */
  get draining(): AbortSignal {
    return this.#draining.signal
  }

  /** Throws draining or too_many_sockets when the node takes no more. */
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

  /** It is one of the node's until its TCP connection ends, or what is answered is called. */
  add(connection: LongLived, socket: Socket): () => void {
    this.#open.add(connection)
    const remove = () => {
      socket.off('close', remove)
      this.#open.delete(connection)
    }
    socket.once('close', remove)
    return remove
  }

  /** Sends everybody away, spread over a few seconds so that they do not return as one wave. */
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

/** How a peer is waited for that does not take what it is sent. */
export interface StallPolicy {
  readonly stallMs: number
  readonly unread: UnreadBudget
  /** On whose account it is. */
  readonly holder: unknown
  /** How many pages its tail has in memory: one, or the next one too. */
  readonly pages?: 1 | 2
}

/**
 * Resolves when what was written has left this process, true; or, false, when the peer took nothing at all for
 * `stallMs` (Node's socket time-out, which a write that makes progress pushes back), or there is no memory for what waits. Resolves at once when the signal
 * is aborted; that is asked for only when there is something to wait for.
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
