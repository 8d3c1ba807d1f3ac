import type { Db } from '../db/pool.ts'
import { jittered, pause } from '../lib/backoff.ts'
import { endOfTurn } from '../lib/endOfTurn.ts'
import { Loop } from '../lib/loop.ts'
import type { Log } from '../ops/log.ts'
import type { Metrics } from '../ops/metrics.ts'
import type { RenderedEvent, Seq } from '../protocol/event.ts'
import {
  type Head,
  type Known,
  type PageBounds,
  readHeads,
  readHotAfterMany,
  readStandings,
  type Standing,
} from './queries.ts'
import { Ring, RingBudget } from './ring.ts'
import { type Live, Subscription } from './subscription.ts'

export interface HubOptions {
  readonly db: Db
  readonly ringEvents: number
  readonly ringBytes: number
  readonly ringSessionBytes: number
  readonly pollIntervalMs: number
  readonly log: Log
  readonly metrics: Metrics
  /** `at` of an event that is no longer hot, as in Head; undefined when there is none. */
  readonly coldAt?: (sid: string, seq: Seq) => Promise<number | undefined>
}

/** Of a session that was compared with the database: 'unknown' when it cannot say yet. */
type Verdict = 'same' | 'gone' | 'unknown'

/** Sessions per query, of reads that take many sessions at once. */
const SESSIONS_PER_READ = 200
const FILL_BOUNDS: PageBounds = { events: 256, bytes: 256 * 1024 }
const NO_HEAD: Head = { lastSeq: 0, epoch: 0, erased: false, at: 0 }
const RETRY_BASE_MS = 50
const RETRY_MAX_MS = 1000

/**
 * Wakes the tails of this node. What it is told by notifications, by its own appends and by polling are only hints
 * that a session has moved on; what tails get is read from Postgres, once per session and node, several sessions in
 * one query, or comes from this node's own commits.
 *
 * A session is known here for as long as it has a tail: registered (no ring yet) → standing (ring at the head as read
 * after registering) → gone with its last tail. When content of it was removed, which its epoch tells, it is registered
 * anew: the ring begins behind every event that may have lost its content. When all was, it is erased, for good.
 *
 * A database can go back, by a restore or a failover to a standby that lagged. Whenever it may have, sessions are doubted:
 * nothing of them is shown until the event that is the newest known here was compared with the database, by seq and
 * time. Those that are as they were go on; the tails of the others end, and their rings with them.
 */
export class Hub {
  readonly #options: HubOptions
  readonly #budget: RingBudget
  readonly #sessions = new Map<string, Live>()
  /** Sessions whose ring may be behind: to be positioned, or filled. */
  readonly #behind = new Set<Live>()
  #filling: Promise<void> | undefined
  /** The safety net under notifications, and all there is while the listener is down. */
  readonly #polling: Loop
  /** Counts the times at which the database may have gone back: what was asked before is not to be believed. */
  #doubts = 0

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
  }

  /** Begins to poll. */
  start(): void {
    this.#polling.start()
  }

  get tails(): number {
    let tails = 0
    for (const live of this.#sessions.values()) tails += live.tails
    return tails
  }

  get ringBytes(): number {
    return this.#budget.usedBytes
  }

  /** `epoch` is the session's as the caller has just read it: what was kept before it is not shown. */
  register(sid: string, epoch?: number): Subscription {
    let live = this.#sessions.get(sid)
    if (live === undefined) {
      live = {
        sid,
        ring: undefined,
        known: undefined,
        name: undefined,
        isDoubted: false,
        head: 0,
        epoch: undefined,
        over: undefined,
        removals: 0,
        tails: 0,
        wakes: new Set(),
      }
      this.#sessions.set(sid, live)
      this.#catchUp(live)
    } else this.#refresh(live, epoch)
    live.tails += 1
    return new Subscription(live, this.#leave)
  }

  /** A hint that the session is at `lastSeq`, and when it says so in that epoch, from wherever. */
  hint(sid: string, lastSeq: Seq, epoch?: number): void {
    const live = this.#sessions.get(sid)
    if (live === undefined) return
    this.#refresh(live, epoch)
    if (lastSeq <= live.head) return
    live.head = lastSeq
    if (live.ring === undefined || live.ring.last < lastSeq) this.#catchUp(live)
  }

  /** Events that this node has just committed. `frames` is asked for only when somebody tails the session here. */
  appended(sid: string, lastSeq: Seq, frames: () => readonly RenderedEvent[]): void {
    const live = this.#sessions.get(sid)
    if (live === undefined) return
    if (!live.isDoubted && live.ring) this.#push(live, live.ring, frames())
    this.hint(sid, lastSeq)
    this.#wake(live)
  }

  /** Notifications may have been missed: look at every tailed session now. */
  checkAll(): void {
    this.#polling.wake()
  }

  /** The database may have gone back. Nothing that is known here is shown before it was compared. */
  doubtAll(): void {
    this.#doubts += 1
    for (const live of this.#sessions.values()) this.#doubt(live)
  }

  async stop(): Promise<void> {
    await Promise.all([this.#polling.stop(), this.#filling])
  }

  /** The tail is over; with its last tail the session is gone from here. */
  readonly #leave = (live: Live): void => {
    live.tails -= 1
    if (live.tails > 0) return
    live.ring?.clear()
    this.#behind.delete(live)
    if (this.#sessions.get(live.sid) === live) this.#sessions.delete(live.sid)
  }

  #wake(live: Live): void {
    for (const wake of [...live.wakes]) wake()
  }

  /** Forgets what is kept of the session when it is from an earlier epoch. */
  #refresh(live: Live, epoch: number | undefined): void {
    if (epoch === undefined || live.epoch === undefined || epoch <= live.epoch) return
    this.#dropRing(live)
    this.#catchUp(live)
  }

  #dropRing(live: Live): void {
    live.ring?.clear()
    live.ring = undefined
    live.epoch = undefined
    live.removals += 1
  }

  #push(live: Live, ring: Ring, frames: readonly RenderedEvent[]): void {
    const before = ring.last
    ring.push(frames)
    const last = frames.at(-1)
    if (last === undefined) return
    if (ring.last !== before) live.known = { seq: last.seq, at: last.at }
    else if (contradicts(ring, last)) this.#doubt(live)
  }

  #doubt(live: Live): void {
    live.isDoubted = true
    this.#catchUp(live)
  }

  #catchUp(live: Live): void {
    if (live.over !== undefined) return
    this.#behind.add(live)
    this.#filling ??= this.#fill().finally(() => {
      this.#filling = undefined
    })
  }

  /** Self-clocking: what falls behind during one read is the next read. */
  async #fill(): Promise<void> {
    const { signal } = this.#polling
    await endOfTurn()
    for (let failures = 0; this.#behind.size > 0 && !signal.aborted; ) {
      const some = [...this.#behind].slice(0, SESSIONS_PER_READ)
      try {
        const areAllKnown = await this.#position(
          some.filter((live) => live.isDoubted || live.ring === undefined),
        )
        await this.#readOn(some)
        failures = areAllKnown ? 0 : failures + 1
        if (!areAllKnown) await pause(jittered(failures, RETRY_BASE_MS, RETRY_MAX_MS), signal)
      } catch (error) {
        this.#options.log.warn({ err: error, sessions: some.length }, 'reading on for tails failed')
        await pause(jittered(failures, RETRY_BASE_MS, RETRY_MAX_MS), signal)
        failures += 1
      }
    }
  }

  /** Compares sessions with the database, and places the rings of those that have none. False: some have to wait. */
  async #position(lives: readonly Live[]): Promise<boolean> {
    if (lives.length === 0) return true
    const doubts = this.#doubts
    const standings = await this.#standings(lives)
    if (doubts !== this.#doubts) return true // perhaps of another database: they are asked for again
    const gone: Live[] = []
    let areAllKnown = true
    for (const live of lives) {
      const standing = standings.get(live.sid)
      const verdict = standing ? await this.#compare(live, standing) : 'unknown'
      if (doubts !== this.#doubts) return true
      if (verdict === 'gone') gone.push(live)
      else if (verdict === 'unknown') areAllKnown = false
      else this.#settle(live, standing?.head ?? NO_HEAD, standing?.name)
    }
    if (gone.length > 0 && !(await this.#lookAgain(gone))) return false
    return areAllKnown
  }

  async #standings(lives: readonly Live[]): Promise<Map<string, Standing>> {
    const wanted = lives.map((live) => ({ sid: live.sid, seq: live.known?.seq ?? 0 }))
    const standings = await readStandings(this.#options.db, wanted)
    return new Map(standings.map((it) => [it.sid, it]))
  }

  async #compare(live: Live, { head, atKnown, name, isReplica }: Standing): Promise<Verdict> {
    const { known } = live
    if (known === undefined) return 'same'
    if (head === undefined || head.lastSeq < known.seq) return isReplica ? 'unknown' : 'gone'
    if (name !== live.name) return 'gone'
    if (head.erased) return 'same'
    try {
      const at = atKnown ?? (await this.#options.coldAt?.(live.sid, known.seq))
      // In no tier: whoever reads there is told of the damage.
      return at === undefined || at === known.at ? 'same' : 'gone'
    } catch (error) {
      this.#options.log.warn({ err: error, sid: live.sid }, 'cold storage cannot say whether a log went back')
      return 'unknown'
    }
  }

  /**
   * What was asked may have been a server that is the primary no more: asked once more, on new connections. False: some have
   * to wait.
   */
  async #lookAgain(lives: readonly Live[]): Promise<boolean> {
    this.#options.db.renew()
    const doubts = this.#doubts
    const standings = await this.#standings(lives)
    let areAllKnown = true
    for (const live of lives) {
      const standing = standings.get(live.sid)
      if (standing === undefined || (await this.#compare(live, standing)) !== 'gone') {
        this.#doubt(live)
        areAllKnown = false
      } else if (doubts === this.#doubts) this.#giveUp(live, standing)
    }
    return areAllKnown
  }

  #giveUp(live: Live, { head, name }: Standing): void {
    const known = live.known?.seq
    this.#options.metrics.historyChanged()
    this.#options.log.error(
      { sid: live.sid, session: live.name, isNow: name, known, lastSeq: head?.lastSeq },
      'the log of a session went back: its tails end',
    )
    live.over = 'history_changed'
    this.#dropRing(live)
    this.#behind.delete(live)
    if (this.#sessions.get(live.sid) === live) this.#sessions.delete(live.sid)
    this.#wake(live)
  }

  /** The session is what it was, or was not known before. */
  #settle(live: Live, { lastSeq, epoch, erased, at }: Head, name: string | undefined): void {
    live.isDoubted = false
    live.name = name
    live.head = Math.max(live.head, lastSeq)
    // One that went back: what was erased since the backup is there again, and may be erased again.
    if (live.epoch !== undefined && live.epoch !== epoch) this.#dropRing(live)
    live.epoch = epoch
    if (erased) {
      live.over = 'session_erased'
      this.#behind.delete(live)
    } else if (live.ring === undefined) this.#restart(live, { seq: lastSeq, at })
    this.#wake(live)
  }

  #restart(live: Live, last: Known): void {
    // This node's own commits may have moved the ring while we read.
    if (live.ring && live.ring.last >= last.seq) return
    live.ring?.clear()
    const { ringEvents, ringSessionBytes } = this.#options
    live.ring = new Ring(last.seq, { events: ringEvents, bytes: ringSessionBytes }, this.#budget)
    live.known = last
  }

  async #readOn(some: readonly Live[]): Promise<void> {
    const wanted = some.flatMap((live) =>
      live.ring && !live.isDoubted && live.ring.last < live.head
        ? [{ live, sid: live.sid, cursor: live.ring.last }]
        : [],
    )
    if (wanted.length > 0) {
      const frames = await readHotAfterMany(this.#options.db, wanted, FILL_BOUNDS)
      const astray: { live: Live; head: Seq }[] = []
      for (const { live, cursor } of wanted) {
        const own = frames.get(live.sid) ?? []
        this.#options.metrics.read('hot', own.length)
        if (live.tails === 0 || live.isDoubted || !live.ring) continue // gone meanwhile, and its memory given back
        if (own[0]?.seq === cursor + 1) this.#push(live, live.ring, own)
        else astray.push({ live, head: live.head })
        this.#wake(live)
      }
      await this.#reposition(astray)
    }
    for (const live of some)
      if (live.ring && !live.isDoubted && live.ring.last >= live.head) this.#behind.delete(live)
  }

  /** What follows is no longer hot: tails that need it read it for themselves. Or the hint was not true: back to the head. */
  async #reposition(astray: readonly { live: Live; head: Seq }[]): Promise<void> {
    if (astray.length === 0) return
    const heads = await readHeads(
      this.#options.db,
      astray.map(({ live }) => live.sid),
    )
    for (const { live, head } of astray) {
      const { lastSeq: real, at } = heads.get(live.sid) ?? NO_HEAD
      if (live.isDoubted || live.ring === undefined) continue // it is positioned next
      if (head > real) {
        if (live.head === head) live.head = real // else there was another hint, which is looked at next
      } else this.#restart(live, { seq: real, at })
      this.#wake(live)
    }
  }

  async #poll(): Promise<void> {
    const lives = [...this.#sessions.values()]
    for (let i = 0; i < lives.length; i += 1000) await this.#pollHeads(lives.slice(i, i + 1000))
  }

  async #pollHeads(lives: readonly Live[]): Promise<void> {
    const known = lives.map((live) => live.known) // as it was before they were asked for: heads only grow
    const heads = await readHeads(
      this.#options.db,
      lives.map((live) => live.sid),
    )
    for (const [i, live] of lives.entries()) {
      const head = heads.get(live.sid) ?? NO_HEAD
      const before = known[i]
      if (before && (head.lastSeq < before.seq || (head.lastSeq === before.seq && head.at !== before.at)))
        this.#doubt(live)
      else this.hint(live.sid, head.lastSeq, head.epoch)
    }
  }
}

/** Whether the ring has another event at that seq: a notification may overtake an answer, but not with another event. */
function contradicts(ring: Ring, { seq, at }: RenderedEvent): boolean {
  const held = ring.after(seq - 1, 1)?.[0]
  return held !== undefined && held.at !== at
}
