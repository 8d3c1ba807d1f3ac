import { nameOfPrincipal, type Principal } from '../auth/principal.ts'
import { AppError } from '../protocol/errors.ts'

/** A fixed answer: the node cannot know when another tail ends. */
const RETRY_AFTER_MS = 5000

const NOT_COUNTED = () => {} // without authentication there is nothing to release

/**
 * Bounds the tails that one principal has open on this node: WebSockets, event streams, topics of a socket, long-polls.
 * A principal is a tenant and a subject, so a new token does not reset the count. Without authentication all clients are the
 * same principal, and only the bounds of the node apply.
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
        `${principal.actor} has ${open} tails open on this node, which is the limit: close one, or try again later`,
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
