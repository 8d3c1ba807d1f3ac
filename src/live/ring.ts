import type { Frame, Seq } from '../protocol/event.ts'

/** Bytes that the rings of one node hold together, against one bound. */
export class RingBudget {
  readonly maxBytes: number
  usedBytes = 0

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }
}

/**
 * The newest events of one session: contiguous, ending at `last`. Bounded in events, and in bytes over all rings of
 * the node. At a bound the oldest go; a tail that still needs them reads them from storage.
 */
export class Ring {
  readonly #maxEvents: number
  readonly #budget: RingBudget
  #frames: Frame[] = []
  #last: Seq

  constructor(last: Seq, maxEvents: number, budget: RingBudget) {
    this.#last = last
    this.#maxEvents = maxEvents
    this.#budget = budget
  }

  /** The seq up to which this ring has seen the session, whether or not it still holds that event. */
  get last(): Seq {
    return this.#last
  }

  /** Takes frames that continue the ring; earlier ones are known already, later ones would leave a hole: ignored. */
  push(frames: readonly Frame[]): void {
    for (const frame of frames) {
      if (frame.seq !== this.#last + 1) continue
      this.#frames.push(frame)
      this.#budget.usedBytes += frame.text.length
      this.#last = frame.seq
    }
    while (this.#frames.length > this.#maxEvents) this.#dropOldest()
    while (this.#frames.length > 0 && this.#budget.usedBytes > this.#budget.maxBytes) this.#dropOldest()
  }

  /** The events after `cursor`, at most `limit`, or undefined when the ring does not reach back that far. */
  after(cursor: Seq, limit: number): readonly Frame[] | undefined {
    const first = this.#last - this.#frames.length + 1
    if (cursor < first - 1) return undefined
    return this.#frames.slice(cursor - first + 1, cursor - first + 1 + limit)
  }

  clear(): void {
    for (const frame of this.#frames) this.#budget.usedBytes -= frame.text.length
    this.#frames = []
  }

  #dropOldest(): void {
    const oldest = this.#frames.shift()
    if (oldest) this.#budget.usedBytes -= oldest.text.length
  }
}
