import { LinkedAbort } from '../lib/linkedAbort.ts'
import type { Subscription } from '../live/subscription.ts'

/**
 * When a tail is to end: its caller's signal is aborted, or its session is over. A signal of both is made when
 * something has to wait with it, and given up again: of the many tails that only wait for events, none needs one.
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

  /** Good until `release`. */
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
