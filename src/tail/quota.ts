import { nameOfPrincipal, type Principal } from '../auth/principal.ts'
import { AppError } from '../protocol/errors.ts'

/** Where nothing tells when another tail ends. */
const RETRY_AFTER_MS = 5000

const NOT_COUNTED = () => {} // one for all: where nobody is told apart it gives nothing back

/**
 * Tails that one principal has open on this node: WebSockets, event streams, topics of a socket, long-polls. Principals
 * are told apart by tenant and subject, so new tokens are no way around. Without authentication everybody is the same,
 * and only the bounds of the node hold.
 */
export class TailQuota {
  readonly #max: number
  readonly #open = new Map<string, number>()

  constructor(max: number) {
    this.#max = max
  }

  /** Throws too_many_tails. Call what it returns, once, when the tail is over. */
  take(principal: Principal): () => void {
    const key = nameOfPrincipal(principal)
    if (key === undefined) return NOT_COUNTED
    const open = this.#open.get(key) ?? 0
    if (open >= this.#max)
      throw new AppError(
        'too_many_tails',
        `${principal.actor} has ${open} tails open here, as many as it may`,
        {
          retry_after_ms: RETRY_AFTER_MS,
          max_tails: this.#max,
        },
      )
    this.#open.set(key, open + 1)
    return () => {
      const left = (this.#open.get(key) ?? 1) - 1
      if (left > 0) this.#open.set(key, left)
      else this.#open.delete(key)
    }
  }
}
