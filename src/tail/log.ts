import type { Db } from '../db/pool.ts'
import type { Subscription } from '../live/hub.ts'
import { type PageBounds, readHotAfter } from '../live/queries.ts'
import type { Metrics } from '../ops/metrics.ts'
import type { Frame, Seq } from '../protocol/event.ts'

/**
 * A slow reader costs its node one page and one page ahead, so pages are small; they are large enough that reading
 * them one after the other keeps Postgres busier than the round trips between them.
 */
export const PAGE_BOUNDS: PageBounds = { events: 1000, bytes: 256 * 1024 }

/** An event that must exist is in no tier: never to be skipped, so the reader is stopped instead. */
export class HoleError extends Error {
  override readonly name = 'HoleError'
}

/** The one place that knows where events are: the ring of a tailed session, then Postgres. */
export class EventLog {
  readonly #db: Db
  readonly #metrics: Metrics

  constructor(db: Db, metrics: Metrics) {
    this.#db = db
    this.#metrics = metrics
  }

  /**
   * The events that follow `cursor`, contiguous from `cursor + 1`; empty only when there are none yet. Rejects with a
   * HoleError when the next event exists but is nowhere to be found.
   */
  async after(subscription: Subscription, cursor: Seq): Promise<readonly Frame[]> {
    const live = subscription.after(cursor, PAGE_BOUNDS.events)
    if (live !== undefined) {
      if (live.length > 0) this.#metrics.read('ring', live.length)
      return live
    }
    const page = await readHotAfter(this.#db, subscription.sid, cursor, PAGE_BOUNDS)
    this.#metrics.read('hot', page.length)
    return contiguous(page, cursor)
  }
}

function contiguous(page: readonly Frame[], cursor: Seq): readonly Frame[] {
  if (page.length === 0) throw new HoleError(`event ${cursor + 1} is in no tier`)
  page.forEach((frame, i) => {
    if (frame.seq !== cursor + 1 + i)
      throw new HoleError(`event ${cursor + 1 + i} is missing before ${frame.seq}`)
  })
  return page
}
