import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import { Semaphore } from '../../../lib/semaphore.ts'
import { type StallPolicy, socketDrained } from '../sockets.ts'

export interface OutboxOptions {
  readonly stallPolicy: StallPolicy
  /** Aborted when the connection is gone. */
  readonly signal: AbortSignal
  /** The peer takes less than it is sent, or takes it again. */
  readonly onPressure: () => void
  /** The peer has taken nothing for `stallMs`. */
  readonly onStalled: () => void
}

/** Pages of all topics together that may be on their way, from being read to having left this process. */
const MAX_PAGES = 2

/** What one WebSocket is sent, by all of its topics. What is sent in one turn of the event loop is one system call. */
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

  /** Whether the peer has yet to take what it was sent. */
  get isFull(): boolean {
    return this.#draining !== undefined
  }

  /** Resolves when what was sent has left this process, or the connection is gone. */
  drained(): Promise<void> {
    return this.#draining ?? Promise.resolve()
  }

  /**
   * Resolves when a topic may send a page, fair among topics; with what is called once the page was sent, or will not
   * be. Undefined when the signal is aborted; that is asked for only when there is something to wait for.
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
