import { type BackoffBounds, jittered } from './backoff.ts'

export interface LoopOptions {
  /**
   * Does the work once. Resolves with the milliseconds to rest before the next pass, or with nothing for `intervalMs`.
   * The signal is aborted by `stop`.
   */
  readonly pass: (signal: AbortSignal) => Promise<number> | Promise<void>
  /** The rest between two passes, unless a pass returns another one. */
  readonly intervalMs: number
  /** The rest before the first pass. Default: `intervalMs`. */
  readonly firstInMs?: number
  /** Awaited after each rest, before the pass: for work that an idle node puts off. */
  readonly gate?: (signal: AbortSignal) => Promise<void>
  /** The rest after a failed pass, with full jitter. Default: `intervalMs` after a failure too. */
  readonly backoff?: BackoffBounds & {
    /** Whether `wake` ends this rest as well. Default: no, so that a busy caller cannot hammer a database that is unavailable. */
    readonly isCutByWake?: boolean
  }
  /** Called when a pass has rejected, unless because of `stop`. `failures` counts them in a row. */
  readonly onFailure: (error: unknown, failures: number) => void
}

/**
 * Repeats a piece of work until stopped: resting → (the rest is over, or a wake) → passing → resting …. A wake that comes
 * during a pass is kept: another pass follows at once.
 */
export class Loop {
  readonly #options: LoopOptions
  readonly #stopping = new AbortController()
  #running: Promise<void> | undefined
  #isWoken = false
  #failures = 0
  /** Ends the current rest, if `wake` may end it. */
  #cutByWake: (() => void) | undefined
  #cutByStop: (() => void) | undefined

  constructor(options: LoopOptions) {
    this.#options = options
  }

  /** Aborted by `stop`. */
  get signal(): AbortSignal {
    return this.#stopping.signal
  }

  /** Starts the loop; does nothing when it was started or stopped before. */
  start(): void {
    this.#running ??= this.#run()
  }

  /** Ends the rest: the next pass begins at once. */
  wake(): void {
    this.#isWoken = true
    this.#cutByWake?.()
  }

  /** Resets the count of failures, for a long pass that has begun to succeed. */
  resetBackoff(): void {
    this.#failures = 0
  }

  /** Aborts the signal, ends the rest and waits for the pass under way. It may be called twice, and without a start. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#cutByStop?.()
    await this.#running
  }

  async #run(): Promise<void> {
    const { pass, intervalMs, firstInMs = intervalMs, gate, onFailure } = this.#options
    const { signal } = this.#stopping
    for (let restMs = firstInMs, isBackoff = false; ; ) {
      const rest = this.#rest(restMs, isBackoff)
      if (rest) await rest // without a rest the first pass begins before `start` returns
      if (gate && !signal.aborted) await gate(signal)
      if (signal.aborted) return
      this.#isWoken = false
      try {
        const nextInMs = await pass(signal)
        restMs = typeof nextInMs === 'number' ? nextInMs : intervalMs
        isBackoff = false
        this.#failures = 0
      } catch (error) {
        if (signal.aborted) return
        this.#failures += 1
        onFailure(error, this.#failures)
        restMs = this.#backoffMs()
        isBackoff = true
      }
    }
  }

  #backoffMs(): number {
    const { backoff, intervalMs } = this.#options
    return backoff ? jittered(this.#failures - 1, backoff.baseMs, backoff.maxMs) : intervalMs
  }

  #rest(ms: number, isBackoff: boolean): Promise<void> | undefined {
    const { backoff } = this.#options
    const isCutByWake = !isBackoff || backoff === undefined || backoff.isCutByWake === true
    if (ms <= 0 || this.#stopping.signal.aborted || (isCutByWake && this.#isWoken)) return undefined
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer)
        this.#cutByWake = undefined
        this.#cutByStop = undefined
        resolve()
      }
      const timer = setTimeout(end, ms)
      this.#cutByStop = end
      if (isCutByWake) this.#cutByWake = end
    })
  }
}
