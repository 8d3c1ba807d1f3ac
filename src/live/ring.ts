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
  #frames: RenderedEvent[] = []
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
  push(frames: readonly RenderedEvent[]): void {
    for (const frame of frames) {
      if (frame.seq !== this.#last + 1) continue
      this.#frames.push(frame)
      this.#count(frame.memoryBytes)
      this.#last = frame.seq
    }
    while (this.#isOver()) this.#dropOldest()
  }

  /** The events after `cursor`, at most `limit`, or undefined when the ring does not reach back that far. */
  after(cursor: Seq, limit: number): readonly RenderedEvent[] | undefined {
    const first = this.#last - this.#frames.length + 1
    if (cursor < first - 1) return undefined
    return this.#frames.slice(cursor - first + 1, cursor - first + 1 + limit)
  }

  clear(): void {
    this.#count(-this.#bytes)
    this.#frames = []
  }

  #isOver(): boolean {
    if (this.#frames.length === 0) return false
    if (this.#frames.length > this.#max.events || this.#bytes > this.#max.bytes) return true
    return this.#budget.usedBytes > this.#budget.maxBytes
  }

  #dropOldest(): void {
    const oldest = this.#frames.shift()
    if (oldest) this.#count(-oldest.memoryBytes)
  }

  #count(bytes: number): void {
    this.#bytes += bytes
    this.#budget.usedBytes += bytes
  }
}
