import { Loop } from '../lib/loop.ts'
import type { Log } from '../ops/log.ts'
import type { Metrics } from '../ops/metrics.ts'
import { logMayHaveGoneBack } from '../protocol/errors.ts'
import type { RenderedEvent, Seq } from '../protocol/event.ts'
import type { LogVerifierOptions } from './logVerifier.ts'
import { NO_HEAD, readHeads, type SeenLog } from './queries.ts'
import { RingBudget } from './ring.ts'
import { RingFiller } from './ringFiller.ts'
import { Subscription } from './subscription.ts'
import { TailedSession } from './tailedSession.ts'

export interface HubOptions extends LogVerifierOptions {
  readonly ringEvents: number
  readonly ringBytes: number
  readonly ringSessionBytes: number
  readonly pollIntervalMs: number
  readonly log: Log
  readonly metrics: Metrics
}

/** Sessions per query of a poll. */
const SESSIONS_PER_POLL = 1000

/**
 * Wakes the tails of this node. Notifications, the node's own appends and polling are only hints that a session has new
 * events; tails are sent what RingFiller reads from Postgres, or what this node has committed itself.
 *
 * The hub knows a session while it has a tail: registered (no ring yet) → positioned (ring at the head as read after
 * registering) → gone with its last tail. When content of it was removed, which a new epoch shows, it is registered again: the
 * ring begins after every event that may have lost its content. When all content was removed, it is erased permanently.
 *
 * A database can go back, by a restore or a failover to a standby that lagged. Whenever it may have, sessions become
 * unverified: the node sends nothing of them until it has compared the newest event that it knows with the database, by seq and
 * time. Unchanged sessions go on; the tails of the others end, and their rings are dropped. The log that a tail's caller has
 * looked up counts as known: it may be gone before the session is positioned, and another session may have its sid.
 */
export class Hub {
  readonly #options: HubOptions
  readonly #budget: RingBudget
  readonly #sessions = new Map<string, TailedSession>()
  /** Finds what notifications miss, and everything while the listener is down. */
  readonly #polling: Loop
  readonly #filler: RingFiller

  constructor(options: HubOptions) {
    this.#options = options
    this.#budget = new RingBudget(options.ringBytes)
    this.#polling = new Loop({
      pass: () => this.#poll(),
      intervalMs: options.pollIntervalMs,
      onFailure: (error) =>
        options.log.warn(
          { err: error, sessions: this.#sessions.size },
          'polling the heads of tailed sessions failed',
        ),
    })
    this.#filler = new RingFiller({
      ...options,
      ringBounds: { events: options.ringEvents, bytes: options.ringSessionBytes },
      budget: this.#budget,
      signal: this.#polling.signal,
      onGone: (session) => this.#forget(session),
    })
  }

  /** Begins to poll. */
  start(): void {
    this.#polling.start()
  }

  async stop(): Promise<void> {
    await Promise.all([this.#polling.stop(), this.#filler.stopped()])
  }

  get tails(): number {
    let tails = 0
    for (const session of this.#sessions.values()) tails += session.tails
    return tails
  }

  get ringBytes(): number {
    return this.#budget.usedBytes
  }

  /**
   * Registers a tail. `seen` is the log as the caller has just read it: nothing of another log, or of an earlier epoch, is sent.
   * Throws storage_unavailable when other tails of this sid know another log: which one is gone is not known yet.
   */
  register(sid: string, seen?: SeenLog): Subscription {
    let session = this.#sessions.get(sid)
    if (session === undefined) {
      session = new TailedSession(sid, seen)
      this.#sessions.set(sid, session)
      this.#filler.add(session)
    } else if (seen !== undefined) {
      if (!session.canBe(seen)) {
        this.#filler.verify(session)
        throw logMayHaveGoneBack()
      }
      this.#refresh(session, seen.epoch)
    }
    session.tails += 1
    return new Subscription(session, this.#leave)
  }

  /** Takes the hint, from any source, that the session is at `lastSeq`, and in that epoch if it names one. */
  hint(sid: string, lastSeq: Seq, epoch?: number): void {
    const session = this.#sessions.get(sid)
    if (session === undefined) return
    this.#refresh(session, epoch)
    if (lastSeq <= session.head) return
    session.head = lastSeq
    if (session.ring === undefined || session.ring.last < lastSeq) this.#filler.add(session)
  }

  /** Takes events that this node has just committed. `events` is called only when the session is tailed here. */
  appended(sid: string, lastSeq: Seq, events: () => readonly RenderedEvent[]): void {
    const session = this.#sessions.get(sid)
    if (session === undefined) return
    if (!session.isUnverified && session.ring && !session.push(session.ring, events()))
      this.#filler.verify(session)
    this.hint(sid, lastSeq)
    session.wake()
  }

  /** Polls every tailed session now: notifications may have been missed. */
  checkAll(): void {
    this.#polling.wake()
  }

  /** The database may have gone back: sends nothing before it was compared. */
  verifyAll(): void {
    this.#filler.verifyAll(this.#sessions.values())
  }

  /** Releases a session when one of its tails ends; forgets it with the last one. */
  readonly #leave = (session: TailedSession): void => {
    session.tails -= 1
    if (session.tails > 0) return
    session.ring?.clear()
    this.#filler.remove(session)
    this.#forget(session)
  }

  #forget(session: TailedSession): void {
    if (this.#sessions.get(session.sid) === session) this.#sessions.delete(session.sid)
  }

  /** Drops the session's ring when it is from an earlier epoch. */
  #refresh(session: TailedSession, epoch: number | undefined): void {
    if (epoch === undefined || session.epoch === undefined || epoch <= session.epoch) return
    session.dropRing()
    this.#filler.add(session)
  }

  async #poll(): Promise<void> {
    const sessions = [...this.#sessions.values()]
    for (let i = 0; i < sessions.length; i += SESSIONS_PER_POLL)
      await this.#pollHeads(sessions.slice(i, i + SESSIONS_PER_POLL))
  }

  async #pollHeads(sessions: readonly TailedSession[]): Promise<void> {
    const known = sessions.map((session) => session.known) // taken before the read: heads only grow
    const heads = await readHeads(
      this.#options.db,
      sessions.map((session) => session.sid),
    )
    for (const [i, session] of sessions.entries()) {
      const head = heads.get(session.sid) ?? NO_HEAD
      const before = known[i]
      if (before && (head.lastSeq < before.seq || (head.lastSeq === before.seq && head.at !== before.at)))
        this.#filler.verify(session)
      else this.hint(session.sid, head.lastSeq, head.epoch)
    }
  }
}
