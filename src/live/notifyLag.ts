import type { Seq } from '../protocol/event.ts'

/** Samples a second: enough for a histogram, and nothing beside what appending costs. */
const SAMPLE_INTERVAL_MS = 100
/** One that has not come by then is lost with its connection: another is awaited. */
const LOST_AFTER_MS = 10_000
/** A notification may overtake the answer of its own commit, by no more than a few others. */
const MAX_RECENT = 32

interface Head {
  readonly sid: string
  readonly seq: Seq
  /** Milliseconds since the epoch. */
  readonly atMs: number
}

/**
 * How long it takes from an event's `inserted_at` until its notification is here, sampled over this node's own appends,
 * whose times it knows. Needs a clock in step with that of Postgres.
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

  /** A notification has come. */
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
