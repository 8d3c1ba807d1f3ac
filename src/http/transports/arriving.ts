import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { MemoryBudget } from '../../lib/memoryBudget.ts'
import { CLOSE, type Close } from '../../protocol/errors.ts'
import { closeSocket } from './sockets.ts'

export interface ArrivingOptions {
  readonly memory: MemoryBudget
  readonly holder: unknown
  /** How long a message may take to arrive, from its first byte. Time in which the node does not read is not counted. */
  readonly messageMs: number
}

/** The size of a client's frame without its payload: two bytes and the mask. */
const FRAME_HEAD_BYTES = 6
/** The memory that a chunk takes beside its bytes. */
const CHUNK_BYTES = 256

/**
 * Bounds incomplete messages of a WebSocket, which `ws` keeps in memory: past the memory budget or the deadline it closes the
 * socket and reads nothing more.
 */
export function boundArriving(
  ws: WebSocket,
  socket: Socket,
  { memory, holder, messageMs }: ArrivingOptions,
): void {
  const account = memory.open(holder)
  let complete = socket.bytesRead
  let chunks = 0
  const time = new ReadingTime(messageMs, () => end(CLOSE.unfinished))
  const settle = () => {
    complete = socket.bytesRead
    if (chunks === 0) return
    chunks = 0
    time.clear()
    account.resize(0)
  }
  // Control frames may come between the fragments of a message, which stay in memory.
  const control = (data: Buffer) => {
    complete = Math.min(socket.bytesRead, complete + FRAME_HEAD_BYTES + data.length)
  }
  const arrived = () => {
    const bytes = socket.bytesRead - complete
    if (bytes === 0) return settle()
    chunks += 1
    if (!socket.isPaused()) time.run()
    if (!account.resize(bytes + chunks * CHUNK_BYTES)) end(CLOSE.overloaded)
  }
  const pause = () => time.halt()
  const resume = () => {
    if (chunks > 0) time.run()
  }
  const leave = () => {
    time.clear()
    socket.off('data', arrived).off('pause', pause).off('resume', resume)
    account.close()
  }
  const end = (why: Close) => {
    leave()
    void closeSocket(ws, why)
    socket.pause()
  }
  ws.on('message', settle).on('ping', control).on('pong', control).once('close', leave)
  socket.on('pause', pause).on('resume', resume)
  socket.on('data', arrived) // called after the listener of `ws`, which has consumed the chunk by then
}

/** A timer that can be halted. It calls `onOver` when it has run for its time. */
class ReadingTime {
  readonly #ms: number
  readonly #onOver: () => void
  #leftMs: number
  #since = 0
  #timer: NodeJS.Timeout | undefined

  constructor(ms: number, onOver: () => void) {
    this.#ms = ms
    this.#leftMs = ms
    this.#onOver = onOver
  }

  run(): void {
    if (this.#timer !== undefined) return
    this.#since = performance.now()
    this.#timer = setTimeout(this.#onOver, this.#leftMs)
  }

  halt(): void {
    if (this.#timer === undefined) return
    this.#stop()
    this.#leftMs = Math.max(0, this.#leftMs - (performance.now() - this.#since))
  }

  /** Stops the timer and gives the next run the whole time. */
  clear(): void {
    this.#stop()
    this.#leftMs = this.#ms
  }

  #stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}
