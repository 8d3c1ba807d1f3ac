import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { Principal } from '../../auth/principal.ts'
import { onTokenEnd } from '../../auth/tokenEnd.ts'
import { AppError, CLOSE, type Close, type ErrorCode } from '../../protocol/errors.ts'
import type { RenderedEvent } from '../../protocol/event.ts'
import type { Sink } from '../../tail/tail.ts'
import { closeSocket, type LongLived, type Patience, socketDrained } from './sockets.ts'

/** Pings that may go unanswered; at this many the peer is taken for dead. */
const MAX_MISSED_PINGS = 2

/** A raw WebSocket: its peer has nothing to say, so it is pinged. */
export class RawWebSocket implements LongLived {
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

/** One event per text frame, or arrays of up to `batchSize` events. */
export class WebSocketSink implements Sink {
  readonly readsAhead = true
  readonly #ws: WebSocket
  readonly #socket: Socket
  readonly #batchSize: number | undefined
  readonly #patience: Patience
  readonly #onStalled: () => void

  constructor(
    ws: WebSocket,
    socket: Socket,
    options: { batchSize: number | undefined; patience: Patience; onStalled: () => void },
  ) {
    this.#ws = ws
    this.#socket = socket
    this.#batchSize = options.batchSize
    this.#patience = options.patience
    this.#onStalled = options.onStalled
  }

  send(frames: readonly RenderedEvent[]): void {
    if (this.#ws.readyState !== this.#ws.OPEN) return
    this.#socket.cork() // one system call for the page, not two for each frame
    if (this.#batchSize === undefined)
      for (const frame of frames) this.#ws.send(frame.bytes, { binary: false })
    else
      for (let i = 0; i < frames.length; i += this.#batchSize) {
        const batch = frames.slice(i, i + this.#batchSize)
        this.#ws.send(`[${batch.map((frame) => frame.text).join(',')}]`)
      }
    this.#socket.uncork()
  }

  async room(signal: () => AbortSignal): Promise<void> {
    if (!(await socketDrained(this.#socket, this.#patience, signal))) this.#onStalled()
  }
}

const ENDS: Partial<Record<ErrorCode, Close>> = {
  session_erased: CLOSE.erased,
  history_changed: CLOSE.changed,
  history_damaged: CLOSE.damaged,
}

/** Why a tail ended, when that is something to tell its reader; undefined: a fault of ours, to be logged. */
export const knownEnd = (error: unknown): AppError | undefined =>
  error instanceof AppError && error.code in ENDS ? error : undefined

/** Runs a tail on an open socket, and closes the socket with the code that says why the tail ended. */
export async function serveTail(
  ws: WebSocket,
  principal: Principal,
  tail: (signal: AbortSignal, onStalled: () => void) => Promise<void>,
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
    await tail(ended.signal, () => end(CLOSE.slow))
  } catch (error) {
    const known = knownEnd(error)
    if (known === undefined) onFault(error)
    close = (known && ENDS[known.code]) ?? CLOSE.internal
  } finally {
    unwatch()
  }
  await closeSocket(ws, close)
}
