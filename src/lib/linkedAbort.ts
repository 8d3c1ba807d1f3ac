/** The time after which a signal is aborted, and the reason. */
export interface Deadline {
  readonly ms: number
  readonly reason?: () => unknown
}

/**
 * An abort controller that other signals, with their reasons, and a deadline abort too, until `release`. Afterwards nothing is
 * left in the other signals, however long they live; AbortSignal.any and AbortSignal.timeout would leak memory in them for every
 * call.
 */
export class LinkedAbort {
  readonly #controller = new AbortController()
  readonly #sources: readonly (AbortSignal | undefined)[]
  readonly #follow = (event: Event) => this.abort((event.target as AbortSignal).reason)
  readonly #timer: NodeJS.Timeout | undefined

  constructor(sources: readonly (AbortSignal | undefined)[], deadline?: Deadline) {
    this.#sources = sources
    for (const source of sources) {
      if (source?.aborted) this.abort(source.reason)
      else source?.addEventListener('abort', this.#follow, { once: true })
    }
    if (deadline) this.#timer = setTimeout(() => this.abort(deadline.reason?.()), deadline.ms)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  abort(reason?: unknown): void {
    this.#controller.abort(reason)
  }

  /** A promise for Promise.race: it rejects with the reason when this is aborted. */
  rejection(): Promise<never> {
    const { signal } = this
    const rejection = new Promise<never>((_, reject) => {
      if (signal.aborted) reject(signal.reason)
      else signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    })
    rejection.catch(() => {}) // the race may be over
    return rejection
  }

  /** Unlinks the other signals and the deadline. Call it when the work that uses the signal is over. */
  release(): void {
    clearTimeout(this.#timer)
    for (const source of this.#sources) source?.removeEventListener('abort', this.#follow)
  }
}
