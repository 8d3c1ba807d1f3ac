import type { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import { AppError } from '../protocol/errors.ts'

/** The rate limit of each tenant: requests per second on this node. Nodes count apart from each other. */
export class RequestQuota {
  readonly #limiter: RateLimiterMemory
  readonly #perSecond: number

  private constructor(perSecond: number, limiter: RateLimiterMemory) {
    this.#perSecond = perSecond
    this.#limiter = limiter
  }

  /** Loads the limiter, which a node without this limit does not need. Undefined: no limit. */
  static async open(perSecond: number): Promise<RequestQuota | undefined> {
    if (perSecond === 0) return undefined
    const { RateLimiterMemory } = await import('rate-limiter-flexible')
    return new RequestQuota(perSecond, new RateLimiterMemory({ points: perSecond, duration: 1 }))
  }

  /** Counts one request. Rejects with rate_limited. */
  async take(tenantId: string): Promise<void> {
    try {
      await this.#limiter.consume(tenantId)
    } catch (refusal) {
      throw new AppError(
        'rate_limited',
        `tenant rate limit exceeded (${this.#perSecond} requests/s per node)`,
        { retry_after_ms: Math.max(1, (refusal as RateLimiterRes).msBeforeNext) },
      )
    }
  }
}
