/** The longest `Retry-After` that is honoured: a proxy may ask for hours, and timers hold no more than 24 days. */
const MAX_RETRY_AFTER_MS = 300_000

/** Exponential backoff with full jitter: a random delay below a bound that doubles with each attempt in a row. */
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

  /** The next delay: what the server asked for, plus a random part, so that clients do not all come back at once. */
  next(retryAfterMs = 0): number {
    const bound = Math.min(this.#maxMs, this.#baseMs * 2 ** this.#attempts)
    this.#attempts += 1
    return Math.min(retryAfterMs, MAX_RETRY_AFTER_MS) + Math.random() * bound
  }
}
