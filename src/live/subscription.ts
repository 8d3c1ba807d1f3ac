import type { Frame, Seq } from '../protocol/event.ts'
import type { Ring } from './ring.ts'

/** What a node knows of a session that somebody tails here. */
export interface Live {
  readonly sid: string
  /** Undefined until the head was read, after the first tail registered. */
  ring: Ring | undefined
  /** The highest seq heard of; the ring follows it. */
  head: Seq
  /** That of the session when the ring began; undefined without a ring. */
  epoch: number | undefined
  erased: boolean
  removals: number
  tails: number
  readonly wakes: Set<() => void>
}

/** Before the first seq that a ring can be at. */
const NOWHERE = -1

/** A tail's hold on its session; `close` it when the tail ends. */
export class Subscription {
  readonly #live: Live
  readonly #leave: (live: Live) => void
  #isOpen = true

  /** `leave` is called once. */
  constructor(live: Live, leave: (live: Live) => void) {
    this.#live = live
    this.#leave = leave
  }

  get sid(): string {
    return this.#live.sid
  }

  /** The session was erased: there is nothing to be read any more. */
  get erased(): boolean {
    return this.#live.erased
  }

  /** Grows whenever content of the session was removed: what was read before may show it still. */
  get removals(): number {
    return this.#live.removals
  }

  /** The events after `cursor` that the ring holds; undefined when they must come from storage. */
  after(cursor: Seq, limit: number): readonly Frame[] | undefined {
    return this.#live.ring?.after(cursor, limit)
  }

  /** Resolves once the ring stands: from then on no commit goes unnoticed for longer than the poll interval. */
  ready(signal: AbortSignal): Promise<void> {
    return this.changed(NOWHERE, signal)
  }

  /** Resolves when there is more than `cursor`, the session was erased, or the signal is aborted. */
  changed(cursor: Seq, signal: AbortSignal): Promise<void> {
    const live = this.#live
    const isOver = () => (live.ring?.last ?? NOWHERE) > cursor || live.erased || signal.aborted
    if (isOver()) return Promise.resolve()
    // Where idle tails are, so no async function, whose state would be kept for each of them.
    return new Promise((resolve) => {
      const look = () => {
        if (!isOver()) return
        live.wakes.delete(look)
        signal.removeEventListener('abort', look)
        resolve()
      }
      live.wakes.add(look)
      signal.addEventListener('abort', look, { once: true })
    })
  }

  /** Calls `then` when the session is erased, at once when it was. Answers how to be told no more. */
  onErased(then: () => void): () => void {
    const live = this.#live
    const look = () => {
      if (live.erased) then()
      else live.wakes.add(look)
    }
    look()
    return () => void live.wakes.delete(look)
  }

  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#leave(this.#live)
  }
}
