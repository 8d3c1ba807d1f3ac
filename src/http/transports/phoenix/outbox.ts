import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import { Semaphore } from '../../../lib/semaphore.ts'
import { type StallPolicy, socketDrained } from '../sockets.ts'

export interface OutboxOptions {
  readonly stallPolicy: StallPolicy
  /** Aborted when the connection is closed. */
  readonly signal: AbortSignal
  /** Called when the peer stops keeping up, and when it keeps up again. */
  readonly onPressure: () => void
  /** Called when the peer has read nothing for `stallMs`. */
  readonly onStalled: () => void
}

/** The most pages that all topics together have in memory, from the read until they have left this process. */
const MAX_PAGES = 2

/** The outgoing frames of a WebSocket, of all its topics. Frames of one turn of the event loop are sent in one system call. */
export class Outbox {
  readonly #ws: WebSocket
  readonly #socket: Socket
  readonly #options: OutboxOptions
  readonly #pages = new Semaphore(MAX_PAGES)
  #isCorked = false
  #draining: Promise<void> | undefined

  constructor(ws: WebSocket, socket: Socket, options: OutboxOptions) {
    this.#ws = ws
    this.#socket = socket
    this.#options = options
  }

  send(text: string): void {
    if (this.#ws.readyState !== this.#ws.OPEN) return
    if (!this.#isCorked) {
      this.#isCorked = true
      this.#socket.cork()
      process.nextTick(() => this.#uncork())
    }
    this.#ws.send(text)
    if (this.#draining === undefined && this.#socket.writableNeedDrain) this.#drain()
  }

  /** Whether the peer has not yet read what was sent. */
  get isFull(): boolean {
    return this.#draining !== undefined
  }

  /** Resolves when everything sent has left this process, or the connection is closed. */
  drained(): Promise<void> {
    return this.#draining ?? Promise.resolve()
  }

  /**
   * Waits until a topic may send a page, fairly among topics. Resolves with the function that ends its turn, or with undefined
   * when the signal is aborted. `signal` is called only when there is something to wait for.
   */
  async page(signal: () => AbortSignal): Promise<(() => void) | undefined> {
    const give = this.#pages.takeNow() ?? (await this.#pages.take(signal()))
    if (this.isFull) await this.drained()
    return give && (() => void this.drained().then(give))
  }

  #uncork(): void {
    this.#isCorked = false
    this.#socket.uncork()
  }

  #drain(): void {
    const { stallPolicy, signal, onPressure, onStalled } = this.#options
    this.#draining = socketDrained(this.#socket, stallPolicy, () => signal).then((drained) => {
      this.#draining = undefined
      if (drained) onPressure()
      else onStalled()
    })
    onPressure()
  }
}
