import type { CLOSE as SERVER_CLOSE } from '../../protocol/errors.ts'
import { networkError, StarciteError } from '../errors.ts'
import type { End, Link } from './link.ts'

/** The part of WebSocket that is used, with two methods that only the `ws` package has. */
export interface WebSocketLike {
  // biome-ignore lint/suspicious/noExplicitAny: the types that implement it differ in theirs
  addEventListener(type: any, listener: (event: any) => void): void
  close(): void
  send(text: string): void
  pause?(): void
  resume?(): void
  on?(type: 'ping', listener: () => void): unknown
}
export type WebSocketConstructor = new (url: string) => WebSocketLike

/** Bounds of characters that wait to be read. Above the first a socket is paused if it can be; above the second it is closed. */
export interface Bounds {
  readonly pauseAt: number
  readonly closeAt: number
}

const OPEN_TIMEOUT_MS = 15_000
type CloseName = 'finished' | 'expired' | 'erased' | 'changed' | 'damaged'
/** The close codes that a tail distinguishes, typed by the server's table: importing that would bundle all of it. */
const CLOSE: Pick<typeof SERVER_CLOSE, CloseName> = {
  finished: { code: 1000, reason: 'finished' },
  expired: { code: 4001, reason: 'token_expired' },
  erased: { code: 4004, reason: 'session_erased' },
  changed: { code: 4009, reason: 'history_changed' },
  damaged: { code: 1011, reason: 'history_damaged' },
}

export class WebSocketLink implements Link {
  readonly #socket: WebSocketLike
  readonly #follows: boolean
  readonly #bounds: Bounds
  #frames: string[] = []
  #read = 0
  #chars = 0
  #isPaused = false
  #end: End | undefined
  #wake: (() => void) | undefined
  heardAt = Date.now()

  private constructor(socket: WebSocketLike, follows: boolean, bounds: Bounds) {
    this.#socket = socket
    this.#follows = follows
    this.#bounds = bounds
    socket.addEventListener('message', ({ data }: { data: unknown }) => this.#onFrame(data))
    socket.on?.('ping', () => {
      this.heardAt = Date.now()
    })
  }

  /** Opens a WebSocket. Rejects with a network error when the handshake fails; a browser hides the reason. */
  static open(
    make: WebSocketConstructor,
    url: string,
    options: { follow: boolean; bounds: Bounds; signal: AbortSignal },
  ): Promise<WebSocketLink> {
    const { follow, bounds, signal } = options
    return new Promise((resolve, reject) => {
      const socket = new make(url)
      const link = new WebSocketLink(socket, follow, bounds)
      const fail = (reason: string) => {
        settled()
        socket.close()
        reject(networkError(reason, 'the WebSocket could not be opened'))
      }
      const abort = () => fail('aborted')
      const timer = setTimeout(() => fail(`no answer within ${OPEN_TIMEOUT_MS / 1000} s`), OPEN_TIMEOUT_MS)
      const settled = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', abort)
      }
      signal.addEventListener('abort', abort, { once: true })
      if (signal.aborted) abort()
      socket.addEventListener('error', () => {}) // followed by close
      socket.addEventListener('open', () => {
        settled()
        link.heardAt = Date.now()
        resolve(link)
      })
      socket.addEventListener('close', ({ code, reason }: { code: number; reason: string }) => {
        fail(`closed with ${code}`)
        link.#finish(link.#endOf(code, reason))
      })
    })
  }

  async next(): Promise<string | End> {
    for (;;) {
      const frame = this.#frames[this.#read]
      if (frame !== undefined) return this.#take(frame)
      if (this.#end !== undefined) return this.#end
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  send(text: string): void {
    if (this.#end === undefined) this.#socket.send(text)
  }

  close(): void {
    this.#frames = []
    this.#finish({ at: 'broken', reason: 'closed by the client' })
    this.#socket.resume?.() // a paused socket would not receive the answer to its close
    this.#socket.close()
  }

  #take(frame: string): string {
    this.#read += 1
    this.#chars -= frame.length
    if (this.#read === this.#frames.length) {
      this.#frames = []
      this.#read = 0
    }
    if (this.#isPaused && this.#chars <= this.#bounds.pauseAt / 2) {
      this.#isPaused = false
      this.#socket.resume?.()
    }
    return frame
  }

  #onFrame(data: unknown): void {
    this.heardAt = Date.now()
    if (this.#end !== undefined) return // what comes after our own goodbye is asked for again
    if (typeof data !== 'string') return
    this.#frames.push(data)
    this.#chars += data.length
    if (this.#chars >= this.#bounds.pauseAt && this.#socket.pause && !this.#isPaused) {
      this.#isPaused = true
      this.#socket.pause()
    } else if (this.#chars >= this.#bounds.closeAt && !this.#socket.pause) {
      this.#finish({ at: 'interrupted' })
      this.#socket.close()
    }
    this.#wake?.()
  }

  #finish(end: End): void {
    this.#end ??= end
    this.#wake?.()
  }

  #endOf(code: number, reason: string): End {
    if (code === CLOSE.finished.code && !this.#follows)
      return { at: 'finished', isCertain: reason === CLOSE.finished.reason }
    if (code === CLOSE.expired.code) return { at: 'expired' }
    if (code === CLOSE.erased.code) return refused(CLOSE.erased.reason, 410, 'the session was erased')
    if (code === CLOSE.changed.code)
      return refused(CLOSE.changed.reason, 409, 'the database was restored: read the session again')
    if (code === CLOSE.damaged.code && reason === CLOSE.damaged.reason)
      return refused(reason, 500, 'the server cannot find an event; no event was skipped')
    return { at: 'broken', reason: `closed with ${code} ${reason}`.trim() }
  }
}

/** An end after which reconnecting would not help. */
const refused = (code: string, status: number, message: string): End => ({
  at: 'refused',
  error: new StarciteError(code, message, { status, retryable: false }),
})
