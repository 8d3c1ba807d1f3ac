import type { Seq } from '../protocol/event.ts'

/** Ten samples a second are enough for a histogram, and cost nothing beside appending. */
const SAMPLE_INTERVAL_MS = 100
/** A notification that has not arrived by then was lost with its connection; the next sample is taken. */
const LOST_AFTER_MS = 10_000
/** A notification may overtake the answer of its own commit by a few others at most. */
const MAX_RECENT = 32

interface Head {
  readonly sid: string
  readonly seq: Seq
  /** Milliseconds since the epoch. */
  readonly atMs: number
}

/**
 * Measures the time from an event's `inserted_at` until its notification arrives, sampled over this node's own appends.
 * Needs a clock that is synchronized with that of Postgres.
 */
export class NotifyLag {
  readonly #observe: (seconds: number) => void
  readonly #recent: Head[] = []
  #awaited: Head | undefined
  #sampledAtMs = 0

  constructor(observe: (seconds: number) => void) {
    this.#observe = observe
  }

  /** This node has committed up to `seq`, last at `insertedAt` (RFC 3339). */
  committed(sid: string, seq: Seq, insertedAt: string): void {
    const now = Date.now()
    if (now - this.#sampledAtMs < (this.#awaited ? LOST_AFTER_MS : SAMPLE_INTERVAL_MS)) return
    this.#sampledAtMs = now
    const head = { sid, seq, atMs: Date.parse(insertedAt) }
    const notified = this.#recent.find((it) => it.sid === sid && it.seq >= seq)
    this.#awaited = notified ? undefined : head
    if (notified) this.#sample(head, notified.atMs)
  }

  /** A notification has arrived. */
  notified(sid: string, seq: Seq): void {
    const atMs = Date.now()
    const awaited = this.#awaited
    if (awaited?.sid === sid && seq >= awaited.seq) {
      this.#awaited = undefined
      this.#sample(awaited, atMs)
    }
    if (this.#recent.length >= MAX_RECENT) this.#recent.shift()
    this.#recent.push({ sid, seq, atMs })
  }

  #sample(head: Head, atMs: number): void {
    this.#observe(Math.max(0, atMs - head.atMs) / 1000)
  }
}
