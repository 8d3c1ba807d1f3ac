interface Target {
  addEventListener(type: string, listener: () => void): void
  removeEventListener(type: string, listener: () => void): void
}

const asTarget = (value: unknown): Target | undefined =>
  typeof (value as Target | undefined)?.addEventListener === 'function' ? (value as Target) : undefined

/**
 * Waits that end early: when the signal is aborted, when a browser goes offline or comes back online, when a page becomes
 * visible again, and when it resumes from being frozen. Where these events do not exist, only the signal ends a wait early.
 */
export class PageWakeups {
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

  /** Resolves after `ms` with false, or at an earlier wake-up with true. Never rejects. */
  wait(ms: number): Promise<boolean> {
    return this.start(ms).over
  }

  /** Like `wait`, with a function that cancels the wait. */
  start(ms: number): { over: Promise<boolean>; cancel: () => void } {
    let cancel = () => {}
    const over = new Promise<boolean>((resolve) => {
      if (this.signal.aborted) return resolve(true)
      const settle = (isWoken: boolean) => {
        clearTimeout(timer)
        this.#waiting.delete(onWake)
        resolve(isWoken)
      }
      const onWake = () => settle(true)
      const timer = setTimeout(() => settle(false), Math.max(0, ms)) // Node.js warns about negative delays
      this.#waiting.add(onWake)
      cancel = onWake
    })
    return { over, cancel }
  }

  /** Whether the browser has gone offline since the last call. */
  takeWentOffline(): boolean {
    const wentOffline = this.#wentOffline
    this.#wentOffline = false
    return wentOffline
  }

  /** Removes the event listeners and ends all waits. */
  stop(): void {
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe()
    this.#wake()
  }

  #wake(): void {
    for (const onWake of [...this.#waiting]) onWake()
  }

  #listen(to: unknown, type: string, listener: () => void): void {
    const target = asTarget(to)
    target?.addEventListener(type, listener)
    this.#unsubscribe.push(() => target?.removeEventListener(type, listener))
  }
}
