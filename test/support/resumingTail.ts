import { WebSocket } from 'ws'

const RECONNECT_MS = 50

export interface ResumingTailOptions {
  readonly batchSize?: number
}

/**
 * A tail of a correct client: after each end of the connection it reconnects with its cursor. It records each
 * event's text once it is the next one, and every breach of that as a fault.
 */
export class ResumingTail {
  /** The text of event `seq` is at `seq - 1`. */
  readonly events: string[] = []
  readonly faults: string[] = []
  readonly closes: number[] = []
  /** Handshakes that were answered 503. */
  refusals = 0
  #connections = 0
  readonly #url: () => string
  readonly #sessionId: string
  readonly #batchSize: number | undefined
  #socket: WebSocket | undefined
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  /** `base` is asked at every connection, so a tail can change nodes. */
  constructor(base: () => string, sessionId: string, { batchSize }: ResumingTailOptions = {}) {
    this.#url = base
    this.#sessionId = sessionId
    this.#batchSize = batchSize
    this.#connect()
  }

  get cursor(): number {
    return this.events.length
  }

  get connections(): number {
    return this.#connections
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    this.#socket?.terminate()
  }

  #connect(): void {
    const query = `cursor=${this.cursor}${this.#batchSize ? `&batch_size=${this.#batchSize}` : ''}`
    const base = this.#url().replace(/^http/, 'ws')
    const socket = new WebSocket(`${base}/v1/sessions/${encodeURIComponent(this.#sessionId)}/tail?${query}`)
    this.#socket = socket
    socket.on('open', () => {
      this.#connections += 1
    })
    socket.on('message', (data) => this.#onFrame(String(data)))
    socket.on('unexpected-response', (_, response) => {
      // Away or draining is to be expected; an answer that says that our cursor is wrong is not.
      if (response.statusCode === 503) this.refusals += 1
      else this.faults.push(`refused with ${response.statusCode}`)
      response.destroy()
      socket.terminate()
    })
    socket.on('error', () => {}) // followed by close
    socket.on('close', (code) => {
      this.closes.push(code)
      if (!this.#stopped) this.#timer = setTimeout(() => this.#connect(), RECONNECT_MS)
    })
  }

  #onFrame(frame: string): void {
    if (this.#batchSize === undefined) {
      this.#onEvent(frame, JSON.parse(frame).seq)
      return
    }
    // Cut by hand, to keep each event's bytes: every event begins with its seq, and no other object can.
    const events = JSON.parse(frame) as { seq: number }[]
    let from = 1
    events.forEach((event, i) => {
      const next = events[i + 1]
      const end = next ? frame.indexOf(`,{"seq":${next.seq},"type":`, from) : frame.length - 1
      this.#onEvent(frame.slice(from, end), event.seq)
      from = end + 1
    })
  }

  #onEvent(text: string, seq: number): void {
    if (seq === this.cursor + 1) this.events.push(text)
    else this.faults.push(`after ${this.cursor} came ${seq}`)
  }
}
