import type { RenderedEvent, Seq } from '../protocol/event.ts'
import type { EndReason, TailedSession } from './tailedSession.ts'

/** A position before every position of a ring. */
const NOWHERE = -1

/** The registration of a tail with its session. Call `close` when the tail ends. */
export class Subscription {
  readonly #session: TailedSession
  readonly #leave: (session: TailedSession) => void
  #isOpen = true

  /** Calls `leave` once, on `close`. */
  constructor(session: TailedSession, leave: (session: TailedSession) => void) {
    this.#session = session
    this.#leave = leave
  }

  get sid(): string {
    return this.#session.sid
  }

  /** Set when the session was erased, or its log went back: nothing can be read any more. */
  get endReason(): EndReason | undefined {
    return this.#session.endReason
  }

  /** Events read may be of a history that the database no longer has: do not send them before `verified`. */
  get isUnverified(): boolean {
    return this.#session.isUnverified
  }

  /** The highest seq known to be in the log. It is compared when the database may have gone back. */
  get knownSeq(): Seq {
    return this.#session.known?.seq ?? 0
  }

  /** Counts removals of content: events that were read before the last one may still have it. */
  get removals(): number {
    return this.#session.removals
  }

  /** The events after `cursor` that the ring holds; undefined when they must come from storage. */
  after(cursor: Seq, limit: number): readonly RenderedEvent[] | undefined {
    return this.#session.isUnverified ? undefined : this.#session.ring?.after(cursor, limit)
  }

  /** Resolves once there is a ring. From then on the node finds every commit within the poll interval. */
  ready(signal: AbortSignal): Promise<void> {
    return this.changed(NOWHERE, signal)
  }

  /** Resolves when the log was compared with the database, the session has ended, or the signal is aborted. */
  verified(signal: AbortSignal): Promise<void> {
    return this.changed(NOWHERE, signal)
  }

  /** Resolves when there are events after `cursor`, the session has ended, or the signal is aborted. */
  changed(cursor: Seq, signal: AbortSignal): Promise<void> {
    const session = this.#session
    const hasMore = () => !session.isUnverified && (session.ring?.last ?? NOWHERE) > cursor
    const isDone = () => hasMore() || session.endReason !== undefined || signal.aborted
    if (isDone()) return Promise.resolve()
    // Idle tails wait here: an async function would keep its state for each of them.
    return new Promise((resolve) => {
      const look = () => {
        if (!isDone()) return
        session.waiters.delete(look)
        signal.removeEventListener('abort', look)
        resolve()
      }
      session.waiters.add(look)
      signal.addEventListener('abort', look, { once: true })
    })
  }

  /** Calls `then` when the session ends, at once when it has ended. Returns a function that cancels that. */
  onEnd(then: () => void): () => void {
    const session = this.#session
    const look = () => {
      if (session.endReason !== undefined) then()
      else session.waiters.add(look)
    }
    look()
    return () => void session.waiters.delete(look)
  }

  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#leave(this.#session)
  }
}
