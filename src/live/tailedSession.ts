import type { RenderedEvent } from '../protocol/event.ts'
import type { LogPosition } from './queries.ts'
import type { Ring } from './ring.ts'

/** Why the tails of a session end: there is nothing to read any more. */
export type EndReason = 'session_erased' | 'history_changed'

/** What a node knows of a session that has tails on it. */
export class TailedSession {
  readonly sid: string
  /** The newest events. Undefined until the head was read, after the first tail registered. */
  ring: Ring | undefined = undefined
  /** How far the ring has been, which the log must not fall behind; undefined before there is one. */
  known: LogPosition | undefined = undefined
  /** Tenant and id; undefined before there is a ring. */
  name: string | undefined = undefined
  /** The database may have gone back behind what is known: nothing is shown until the two were compared. */
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
  /** Called at every change of what is above. */
  readonly waiters = new Set<() => void>()

  constructor(sid: string) {
    this.sid = sid
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

  /** Forgets the events in memory: some of them have lost their content, or are of a history that is gone. */
  dropRing(): void {
    this.ring?.clear()
    this.ring = undefined
    this.epoch = undefined
    this.removals += 1
  }
}

/** A notification may overtake an answer, but not with another event at the same seq. */
function contradicts(ring: Ring, { seq, at }: RenderedEvent): boolean {
  const held = ring.after(seq - 1, 1)?.[0]
  return held !== undefined && held.at !== at
}
