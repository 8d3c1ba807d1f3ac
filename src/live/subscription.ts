import type { RenderedEvent, Seq } from '../protocol/event.ts'
import type { Known } from './queries.ts'
import type { Ring } from './ring.ts'

/** Why nothing of a session is shown to its tails any more. */
export type Over = 'session_erased' | 'history_changed'

/** What a node knows of a session that somebody tails here. */
export interface Live {
  readonly sid: string
  /** Undefined until the head was read, after the first tail registered. */
  ring: Ring | undefined
  /** How far the ring has been, which the log must not fall behind; undefined before there is one. */
  known: Known | undefined
  /** Tenant and id; undefined before there is a ring. */
  name: string | undefined
  /** The database may have gone back behind what is known: nothing is shown until they were compared. */
  isDoubted: boolean
  /** The highest seq heard of; the ring follows it. */
  head: Seq
  /** That of the session when the ring began; undefined without a ring. */
  epoch: number | undefined
  over: Over | undefined
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

  /** Set when the session was erased, or its log went back: there is nothing to be read any more. */
  get over(): Over | undefined {
    return this.#live.over
  }

  /** What was read may be of a history that the database no longer has: not to be shown before `settled`. */
  get isDoubted(): boolean {
    return this.#live.isDoubted
  }

  /** The highest seq that is known to be in the log, and that will be compared when the database may have gone back. */
  get knownSeq(): Seq {
    return this.#live.known?.seq ?? 0
  }

  /** Grows whenever content of the session was removed: what was read before may show it still. */
  get removals(): number {
    return this.#live.removals
  }

  /** The events after `cursor` that the ring holds; undefined when they must come from storage. */
  after(cursor: Seq, limit: number): readonly RenderedEvent[] | undefined {
    return this.#live.isDoubted ? undefined : this.#live.ring?.after(cursor, limit)
  }

  /** Resolves once the ring stands: from then on no commit goes unnoticed for longer than the poll interval. */
  ready(signal: AbortSignal): Promise<void> {
    return this.changed(NOWHERE, signal)
  }

  /** Resolves when the log and what was read of it have been compared, the session is over, or the signal is aborted. */
  settled(signal: AbortSignal): Promise<void> {
    return this.changed(NOWHERE, signal)
  }

  /** Resolves when there is more than `cursor`, the session is over, or the signal is aborted. */
  changed(cursor: Seq, signal: AbortSignal): Promise<void> {
    const live = this.#live
    const isMore = () => !live.isDoubted && (live.ring?.last ?? NOWHERE) > cursor
    const isOver = () => isMore() || live.over !== undefined || signal.aborted
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

  /** Calls `then` when the session is over, at once when it is. Answers how to be told no more. */
  onOver(then: () => void): () => void {
    const live = this.#live
    const look = () => {
      if (live.over !== undefined) then()
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
