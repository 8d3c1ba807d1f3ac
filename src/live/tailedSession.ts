import type { RenderedEvent } from '../protocol/event.ts'
import { type LogPosition, nameOf, positionOf, type SeenLog } from './queries.ts'
import type { Ring } from './ring.ts'

/** The reason why the tails of a session end. */
export type EndReason = 'session_erased' | 'history_changed'

/** The state of a session that has tails on this node. */
export class TailedSession {
  readonly sid: string
  /** The newest events. Undefined until the head was read, after the first tail registered. */
  ring: Ring | undefined = undefined
  /**
   * The newest position of the ring, behind which the log must not go back. Before the first ring, the position that the first
   * tail's caller has seen; undefined when it has seen none.
   */
  known: LogPosition | undefined = undefined
  /** Tenant and id; undefined before the first ring when no caller has named them. */
  name: string | undefined = undefined
  /** The database may have gone back behind `known`: nothing is sent until the two were compared. */
  isUnverified = false
  /** The highest seq of a hint; the ring follows it. */
  head = 0
  /** The session's epoch when the ring began; undefined without a ring. */
  epoch: number | undefined = undefined
  endReason: EndReason | undefined = undefined
  /** Counts removals of content. */
  removals = 0
  /** Open tails. */
  tails = 0
  /** Called at every change of the members above. */
  readonly waiters = new Set<() => void>()

  constructor(sid: string, seen?: SeenLog) {
    this.sid = sid
    if (seen === undefined) return
    this.name = nameOf(seen)
    this.known = positionOf(seen)
  }

  /** Whether the log can be the one that a caller has seen: of the same session, with the same event at its end. */
  canBe(seen: SeenLog): boolean {
    if (this.name !== undefined && this.name !== nameOf(seen)) return false
    const { seq, at } = positionOf(seen)
    const held = this.known?.seq === seq ? this.known : this.ring?.after(seq - 1, 1)?.[0]
    return seq === 0 || held === undefined || held.at === at
  }

  wake(): void {
    for (const waiter of [...this.waiters]) waiter()
  }

  /** Adds events to the ring. False when they contradict it: the ring has another event at their last seq. */
  push(ring: Ring, events: readonly RenderedEvent[]): boolean {
    const before = ring.last
    ring.push(events)
    const last = events.at(-1)
    if (last === undefined) return true
    if (ring.last === before) return !contradicts(ring, last)
    this.known = { seq: last.seq, at: last.at }
    return true
  }

  /** Drops the events in memory: some have lost their content, or belong to a history that is gone. */
  dropRing(): void {
    this.ring?.clear()
    this.ring = undefined
    this.epoch = undefined
    this.removals += 1
  }
}

/** Whether the ring has another event at this seq. A notification that overtakes an answer is no contradiction. */
function contradicts(ring: Ring, { seq, at }: RenderedEvent): boolean {
  const held = ring.after(seq - 1, 1)?.[0]
  return held !== undefined && held.at !== at
}
