import type { Db } from '../db/pool.ts'
import type { PageBounds } from '../live/queries.ts'
import type { Subscription } from '../live/subscription.ts'
import type { Metrics } from '../ops/metrics.ts'
import type { RenderedEvent, Seq } from '../protocol/event.ts'
import type { ColdTier } from './coldTier.ts'
import { readHotAfter } from './hotQueries.ts'
import type { MissingEvents } from './missingEvents.ts'

/**
 * A slow reader costs its node one page and one page ahead, so pages are small; they are large enough that reading
 * them one after the other keeps Postgres busier than the round trips between them.
 */
const PAGE_BOUNDS: PageBounds = { events: 1000, bytes: 256 * 1024 }

/** Reads events from the ring of a tailed session, from Postgres or from objects. Only this class knows where events are. */
export class EventLog {
  readonly #db: Db
  readonly #cold: ColdTier
  readonly #metrics: Metrics
  readonly #missing: MissingEvents

  constructor(db: Db, cold: ColdTier, metrics: Metrics, missing: MissingEvents) {
    this.#db = db
    this.#cold = cold
    this.#metrics = metrics
    this.#missing = missing
  }

  reader(subscription: Subscription): LogReader {
    return new LogReader(subscription, this.#db, this.#cold, this.#metrics, this.#missing)
  }
}

/** Reads a session's log for one reader, page by page. */
export class LogReader {
  readonly #subscription: Subscription
  readonly #db: Db
  readonly #cold: ColdTier
  readonly #metrics: Metrics
  readonly #missing: MissingEvents
  /** A hint that saves a query to Postgres: events that were cold stay cold. */
  #coldUntil = 0

  constructor(subscription: Subscription, db: Db, cold: ColdTier, metrics: Metrics, missing: MissingEvents) {
    this.#subscription = subscription
    this.#db = db
    this.#cold = cold
    this.#metrics = metrics
    this.#missing = missing
  }

  /**
   * The events that follow `cursor`, contiguous from `cursor + 1`; empty only when there are none yet. Rejects with
   * history_damaged when the next event must exist and is in no tier; see MissingEvents for other reasons.
   */
  async after(cursor: Seq): Promise<readonly RenderedEvent[]> {
    const live = this.#subscription.after(cursor, PAGE_BOUNDS.events)
    if (live !== undefined) {
      const page = within(live, PAGE_BOUNDS.bytes)
      if (page.length > 0) this.#metrics.read('ring', page.length)
      return page
    }
    const isCold = cursor < this.#coldUntil
    const { sid } = this.#subscription
    for (let isSecondLook = false; ; isSecondLook = true) {
      // The event may move from the second tier to the first between the two reads: then the first has it.
      for (const cold of [isCold, !isCold, isCold, !isCold]) {
        const page = await (cold ? this.#fromCold(cursor) : this.#fromHot(cursor))
        if (page.length > 0) return page
      }
      if (isSecondLook) return this.#missing.report(sid, cursor + 1)
      await this.#missing.expect(sid, cursor + 1)
    }
  }

  async #fromHot(cursor: Seq): Promise<readonly RenderedEvent[]> {
    const { sid } = this.#subscription
    const page = contiguous(await readHotAfter(this.#db, sid, cursor, PAGE_BOUNDS), cursor)
    this.#metrics.read('hot', page.length)
    return page
  }

  async #fromCold(cursor: Seq): Promise<readonly RenderedEvent[]> {
    const { sid } = this.#subscription
    const slice = (await this.#cold.sliceAt(sid, cursor + 1)) ?? []
    const page = slice.filter((event) => event.seq > cursor).slice(0, PAGE_BOUNDS.events)
    this.#metrics.read('cold', page.length)
    const sliceEnd = slice.at(-1)?.seq
    if (sliceEnd !== undefined) {
      this.#coldUntil = Math.max(this.#coldUntil, sliceEnd)
      this.#cold.prefetch(sid, sliceEnd + 1)
    }
    return page
  }
}

/** The first events up to that many characters, at least one. */
function within(events: readonly RenderedEvent[], characters: number): readonly RenderedEvent[] {
  let [count, length] = [0, 0]
  for (const { text } of events) {
    if (length >= characters) return events.slice(0, count)
    count += 1
    length += text.length
  }
  return events
}

/** The part of a page that follows the cursor without a gap. The events of a gap are in another tier. */
function contiguous(page: readonly RenderedEvent[], cursor: Seq): readonly RenderedEvent[] {
  const gap = page.findIndex((event, i) => event.seq !== cursor + 1 + i)
  return gap === -1 ? page : page.slice(0, gap)
}
