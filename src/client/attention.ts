import { StarciteError } from './errors.ts'

interface Target {
  addEventListener(type: string, listener: () => void): void
  removeEventListener(type: string, listener: () => void): void
}

const asTarget = (value: unknown): Target | undefined =>
  typeof (value as Target | undefined)?.addEventListener === 'function' ? (value as Target) : undefined

/** What a failure is, told as `offline` while the browser says that it is. */
export function orOffline(error: StarciteError): StarciteError {
  const { navigator } = globalThis as { navigator?: { onLine?: boolean } }
  if (navigator?.onLine !== false || !error.retryable) return error
  return new StarciteError('offline', 'the browser is offline', { cause: error, retryable: true })
}

/**
 * Waiting that ends early: when the signal is aborted, and when the world may have changed, that is when a browser goes
 * offline or comes back, a page becomes visible again, or it wakes from being frozen. Where there are no such events, time alone
 * counts.
 */
export class Attention {
  readonly signal: AbortSignal
  readonly #waiting = new Set<() => void>()
  readonly #unsubscribe: (() => void)[] = []
  #wentOffline = false

  constructor(signal: AbortSignal) {
    this.signal = signal
    const { document } = globalThis as { document?: { visibilityState?: string } }
    const wake = () => this.#wake()
    const wakeWhenVisible = () => document?.visibilityState !== 'hidden' && wake()
    this.#listen(globalThis, 'online', wake)
    this.#listen(globalThis, 'offline', () => {
      this.#wentOffline = true
      wake()
    })
    this.#listen(globalThis, 'pageshow', wake)
    this.#listen(document, 'visibilitychange', wakeWhenVisible)
    this.#listen(document, 'resume', wake)
    this.#listen(signal, 'abort', wake)
  }

  /** Resolves after `ms`, or when something calls for attention; true in the latter case. Never rejects. */
  wait(ms: number): Promise<boolean> {
    return this.start(ms).over
  }

  /** The same, for a wait that may become pointless before. */
  start(ms: number): { over: Promise<boolean>; cancel: () => void } {
    let cancel = () => {}
    const over = new Promise<boolean>((resolve) => {
      if (this.signal.aborted) return resolve(true)
      const settle = (woken: boolean) => {
        clearTimeout(timer)
        this.#waiting.delete(woke)
        resolve(woken)
      }
      const woke = () => settle(true)
      const timer = setTimeout(() => settle(false), Math.max(0, ms)) // Node.js warns of less
      this.#waiting.add(woke)
      cancel = woke
    })
    return { over, cancel }
  }

  /** Whether the browser has gone offline since this was asked last. */
  wentOffline(): boolean {
    const went = this.#wentOffline
    this.#wentOffline = false
    return went
  }

  /** Takes its listeners away, and ends whatever waits. */
  stop(): void {
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe()
    this.#wake()
  }

  #wake(): void {
    for (const woke of [...this.#waiting]) woke()
  }

  #listen(to: unknown, type: string, listener: () => void): void {
    const target = asTarget(to)
    target?.addEventListener(type, listener)
    this.#unsubscribe.push(() => target?.removeEventListener(type, listener))
  }
}

/** What is asked for in `Retry-After` is waited for up to here: a proxy may say hours, and timers hold no more than 24 days. */
const MAX_RETRY_AFTER_MS = 300_000

/** Full jitter: anywhere between 0 and a bound that doubles with each attempt in a row. */
export class Backoff {
  readonly #baseMs: number
  readonly #maxMs: number
  #attempts = 0

  constructor(baseMs: number, maxMs: number) {
    this.#baseMs = baseMs
    this.#maxMs = maxMs
  }

  reset(): void {
    this.#attempts = 0
  }

  /** How long to wait now: at least what the server asked for, and then spread, so that not all come at once. */
  next(retryAfterMs = 0): number {
    const bound = Math.min(this.#maxMs, this.#baseMs * 2 ** this.#attempts)
    this.#attempts += 1
    return Math.min(retryAfterMs, MAX_RETRY_AFTER_MS) + Math.random() * bound
  }
}
