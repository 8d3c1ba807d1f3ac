import { LinkedAbort } from '../lib/linkedAbort.ts'
import type { Subscription } from '../live/subscription.ts'

/**
 * The end of a tail: its caller's signal is aborted, or its session is over. The signal that combines both is created when
 * the tail waits with it, and released afterwards: the many tails that only wait for events need none.
 */
export class TailEnd {
  readonly #subscription: Subscription
  readonly #signal: AbortSignal
  #both: { readonly signal: AbortSignal; release(): void } | undefined

  constructor(subscription: Subscription, signal: AbortSignal) {
    this.#subscription = subscription
    this.#signal = signal
  }

  get isReached(): boolean {
    return this.#signal.aborted || this.#subscription.endReason !== undefined
  }

  /** The combined signal. It works until `release`. */
  signal(): AbortSignal {
    this.#both ??= this.#makeSignal()
    return this.#both.signal
  }

  release(): void {
    this.#both?.release()
    this.#both = undefined
  }

  #makeSignal() {
    const over = new LinkedAbort([this.#signal])
    const forget = this.#subscription.onEnd(() => over.abort())
    const release = () => {
      forget()
      over.release()
    }
    return { signal: over.signal, release }
  }
}
