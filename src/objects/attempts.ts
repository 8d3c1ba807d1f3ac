import { setMaxListeners } from 'node:events'
import { jittered, pause } from '../lib/backoff.ts'
import { LinkedAbort } from '../lib/linkedAbort.ts'
import { ObjectStoreError, type ObjectStoreFault } from './objectStore.ts'

export interface RetryPolicy {
  readonly attempts: number
  /** The time-out of each attempt, up to the last byte of the response. */
  readonly attemptMs: number
  /** The first pause between attempts; it doubles up to the second value. */
  readonly pauseMs: number
  readonly maxPauseMs: number
}

/** An object of 16 MB at 1 MB/s fits into one attempt; an unreachable store is given up after some seconds. */
export const RETRY_POLICY: RetryPolicy = { attempts: 4, attemptMs: 20_000, pauseMs: 150, maxPauseMs: 3000 }

/** The response began and ended early; another attempt may succeed. */
export class BrokenAnswer extends ObjectStoreError {
  constructor(message: string, options?: ErrorOptions) {
    super('damaged', message, options)
  }
}

/** What an error means for the caller; undefined when it is not an error of the store but a fault of this program. */
export type Explain = (error: unknown) => ObjectStoreFault | undefined

/**
 * Repeats a store's calls a few times, with a time-out for each attempt, and settles all of them when it is stopped.
 */
export class Attempts {
  readonly #policy: RetryPolicy
  readonly #explain: Explain
  readonly #stopping = new AbortController()

  constructor(policy: RetryPolicy, explain: Explain) {
    this.#policy = policy
    this.#explain = explain
    setMaxListeners(0, this.#stopping.signal) // each call in progress listens
  }

  /** `attempt` must be idempotent. It should observe its signal; an attempt that ignores it is abandoned. */
  async run<T>(
    what: string,
    signal: AbortSignal | undefined,
    attempt: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const call = new LinkedAbort([signal, this.#stopping.signal])
    try {
      for (let tries = 1; ; tries += 1) {
        call.signal.throwIfAborted()
        try {
          return await this.#once(call.signal, attempt)
        } catch (cause) {
          call.signal.throwIfAborted()
          const kind = cause instanceof ObjectStoreError ? cause.kind : this.#explain(cause)
          if (kind === undefined) throw cause
          const isWorthAnother = kind === 'unavailable' || cause instanceof BrokenAnswer
          if (!isWorthAnother || tries >= this.#policy.attempts)
            throw new ObjectStoreError(kind, `${what}: ${describe(cause)}`, { cause })
        }
        const { pauseMs, maxPauseMs } = this.#policy
        await pause(jittered(tries - 1, pauseMs, maxPauseMs), call.signal)
      }
    } finally {
      call.release()
    }
  }

  stop(): void {
    this.#stopping.abort(new ObjectStoreError('unavailable', 'the object store was stopped'))
  }

  async #once<T>(call: AbortSignal, attempt: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { attemptMs } = this.#policy
    const bounded = new LinkedAbort([call], {
      ms: attemptMs,
      reason: () => new ObjectStoreError('unavailable', `no whole answer within ${attemptMs} ms`),
    })
    try {
      return await Promise.race([attempt(bounded.signal), bounded.rejection()])
    } finally {
      bounded.release()
    }
  }
}

/** Some network errors have no message, only a code. */
function describe(cause: unknown): string {
  const { name, message, code } = cause as NodeJS.ErrnoException
  return message || code || name || String(cause)
}
