/** When a signal is aborted at the latest, and with what. */
export interface Deadline {
  readonly ms: number
  readonly reason?: () => unknown
}

/**
 * An abort controller that other signals abort too, with their reasons, and a deadline, until `release`. Nothing is left in
 * the other signals afterwards, however long they live; AbortSignal.any and AbortSignal.timeout would leave something for
 * every call.
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

  /** Settles when this is aborted, by rejecting with the reason: for Promise.race. */
  rejection(): Promise<never> {
    const { signal } = this
    const rejection = new Promise<never>((_, reject) => {
      if (signal.aborted) reject(signal.reason)
      else signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    })
    rejection.catch(() => {}) // the race may be over
    return rejection
  }

  /** Unlinks the other signals and the deadline. To be called when what has the signal is over. */
  release(): void {
    clearTimeout(this.#timer)
    for (const source of this.#sources) source?.removeEventListener('abort', this.#follow)
  }
}
