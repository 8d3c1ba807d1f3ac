import type { RenderedEvent, Seq } from '../protocol/event.ts'

/** The bytes that all rings of a node hold, and their bound. */
export class RingBudget {
  readonly maxBytes: number
  usedBytes = 0

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }
}

/** The most that the ring of one session holds. */
export interface RingBounds {
  readonly events: number
  readonly bytes: number
}

/**
 * Holds the newest events of one session: contiguous, ending at `last`. Bounded in events, in bytes of memory, and in bytes
 * over all rings of the node. At a bound the oldest events are dropped; tails that still need them read them from storage.
 */
export class Ring {
  readonly #max: RingBounds
  readonly #budget: RingBudget
  #events: RenderedEvent[] = []
  #bytes = 0
  #last: Seq

  constructor(last: Seq, max: RingBounds, budget: RingBudget) {
    this.#last = last
    this.#max = max
    this.#budget = budget
  }

  /** The seq up to which this ring has seen the session, whether or not it still holds that event. */
  get last(): Seq {
    return this.#last
  }

  /** Adds events that continue the ring. Ignores earlier ones, which it has had, and later ones, which would leave a gap. */
  push(events: readonly RenderedEvent[]): void {
    for (const event of events) {
      if (event.seq !== this.#last + 1) continue
      this.#events.push(event)
      this.#count(event.memoryBytes)
      this.#last = event.seq
    }
    while (this.#isOver()) this.#dropOldest()
  }

  /** The events after `cursor`, at most `limit`, or undefined when the ring does not reach back that far. */
  after(cursor: Seq, limit: number): readonly RenderedEvent[] | undefined {
    const first = this.#last - this.#events.length + 1
    if (cursor < first - 1) return undefined
    return this.#events.slice(cursor - first + 1, cursor - first + 1 + limit)
  }

  clear(): void {
    this.#count(-this.#bytes)
    this.#events = []
  }

  #isOver(): boolean {
    if (this.#events.length === 0) return false
    if (this.#events.length > this.#max.events || this.#bytes > this.#max.bytes) return true
    return this.#budget.usedBytes > this.#budget.maxBytes
  }

  #dropOldest(): void {
    const oldest = this.#events.shift()
    if (oldest) this.#count(-oldest.memoryBytes)
  }

  #count(bytes: number): void {
    this.#bytes += bytes
    this.#budget.usedBytes += bytes
  }
}
