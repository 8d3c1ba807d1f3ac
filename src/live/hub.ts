import type { Db } from '../db/pool.ts'
import { jittered, pause } from '../lib/backoff.ts'
import { endOfTurn } from '../lib/endOfTurn.ts'
import type { Log } from '../ops/log.ts'
import type { Metrics } from '../ops/metrics.ts'
import type { Frame, Seq } from '../protocol/event.ts'
import { type Head, type PageBounds, readHeads, readHotAfterMany } from './queries.ts'
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
}

/** Sessions per query, of reads that take many sessions at once. */
const SESSIONS_PER_READ = 200
const FILL_BOUNDS: PageBounds = { events: 256, bytes: 256 * 1024 }
const NO_HEAD: Head = { lastSeq: 0, epoch: 0, erased: false }
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
 */
export class Hub {
  readonly #options: HubOptions
  readonly #budget: RingBudget
  readonly #sessions = new Map<string, Live>()
  /** Sessions whose ring may be behind: to be positioned, or filled. */
  readonly #behind = new Set<Live>()
  readonly #stopping = new AbortController()
  #filling: Promise<void> | undefined
  #polling: Promise<void> | undefined
  #pollNow: (() => void) | undefined

  constructor(options: HubOptions) {
    this.#options = options
    this.#budget = new RingBudget(options.ringBytes)
    this.#polling = this.#poll()
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
        head: 0,
        epoch: undefined,
        erased: false,
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
  appended(sid: string, lastSeq: Seq, frames: () => readonly Frame[]): void {
    const live = this.#sessions.get(sid)
    if (live === undefined) return
    live.ring?.push(frames())
    this.hint(sid, lastSeq)
    this.#wake(live)
  }

  /** Notifications may have been missed: look at every tailed session now. */
  checkAll(): void {
    this.#pollNow?.()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#pollNow?.()
    await Promise.all([this.#polling, this.#filling])
  }

  /** The tail is over; with its last tail the session is gone from here. */
  readonly #leave = (live: Live): void => {
    live.tails -= 1
    if (live.tails > 0) return
    live.ring?.clear()
    this.#behind.delete(live)
    this.#sessions.delete(live.sid)
  }

  #wake(live: Live): void {
    for (const wake of [...live.wakes]) wake()
  }

  /** Forgets what is kept of the session when it is from an earlier epoch. */
  #refresh(live: Live, epoch: number | undefined): void {
    if (epoch === undefined || live.epoch === undefined || epoch <= live.epoch) return
    live.ring?.clear()
    live.ring = undefined
    live.epoch = undefined
    live.removals += 1
    this.#catchUp(live)
  }

  #catchUp(live: Live): void {
    if (live.erased) return
    this.#behind.add(live)
    this.#filling ??= this.#fill().finally(() => {
      this.#filling = undefined
    })
  }

  /** Self-clocking: what falls behind during one read is the next read. */
  async #fill(): Promise<void> {
    const { signal } = this.#stopping
    await endOfTurn()
    for (let failures = 0; this.#behind.size > 0 && !signal.aborted; ) {
      const some = [...this.#behind].slice(0, SESSIONS_PER_READ)
      try {
        await this.#position(some.filter((live) => live.ring === undefined))
        await this.#readOn(some)
        failures = 0
      } catch (error) {
        this.#options.log.warn({ err: error, sessions: some.length }, 'reading on for tails failed')
        await pause(jittered(failures, RETRY_BASE_MS, RETRY_MAX_MS), signal)
        failures += 1
      }
    }
  }

  async #position(fresh: readonly Live[]): Promise<void> {
    if (fresh.length === 0) return
    const heads = await readHeads(
      this.#options.db,
      fresh.map((live) => live.sid),
    )
    for (const live of fresh) {
      const { lastSeq, epoch, erased } = heads.get(live.sid) ?? NO_HEAD
      live.head = Math.max(live.head, lastSeq)
      live.epoch = epoch
      if (erased) {
        live.erased = true
        this.#behind.delete(live)
      } else this.#restart(live, lastSeq)
      this.#wake(live)
    }
  }

  #restart(live: Live, last: Seq): void {
    // This node's own commits may have moved the ring while we read.
    if (live.ring && live.ring.last >= last) return
    live.ring?.clear()
    const { ringEvents, ringSessionBytes } = this.#options
    live.ring = new Ring(last, { events: ringEvents, bytes: ringSessionBytes }, this.#budget)
  }

  async #readOn(some: readonly Live[]): Promise<void> {
    const wanted = some.flatMap((live) =>
      live.ring && live.ring.last < live.head ? [{ live, sid: live.sid, cursor: live.ring.last }] : [],
    )
    if (wanted.length > 0) {
      const frames = await readHotAfterMany(this.#options.db, wanted, FILL_BOUNDS)
      const astray: { live: Live; head: Seq }[] = []
      for (const { live, cursor } of wanted) {
        const own = frames.get(live.sid) ?? []
        this.#options.metrics.read('hot', own.length)
        if (live.tails === 0) continue // gone meanwhile, and its memory given back
        if (own[0]?.seq === cursor + 1) live.ring?.push(own)
        else astray.push({ live, head: live.head })
        this.#wake(live)
      }
      await this.#reposition(astray)
    }
    for (const live of some) if (live.ring && live.ring.last >= live.head) this.#behind.delete(live)
  }

  /** What follows is no longer hot: tails that need it read it for themselves. Or the hint was not true: back to the head. */
  async #reposition(astray: readonly { live: Live; head: Seq }[]): Promise<void> {
    if (astray.length === 0) return
    const heads = await readHeads(
      this.#options.db,
      astray.map(({ live }) => live.sid),
    )
    for (const { live, head } of astray) {
      const real = heads.get(live.sid)?.lastSeq ?? 0
      if (head > real) {
        if (live.head === head) live.head = real // else there was another hint, which is looked at next
      } else this.#restart(live, real)
      this.#wake(live)
    }
  }

  /** The safety net under notifications, and all there is while the listener is down. */
  async #poll(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      const early = new AbortController()
      this.#pollNow = () => early.abort()
      await pause(this.#options.pollIntervalMs, early.signal)
      if (signal.aborted) return
      const sids = [...this.#sessions.keys()]
      try {
        for (let i = 0; i < sids.length; i += 1000)
          for (const [sid, head] of await readHeads(this.#options.db, sids.slice(i, i + 1000)))
            this.hint(sid, head.lastSeq, head.epoch)
      } catch (error) {
        this.#options.log.warn(
          { err: error, sessions: sids.length },
          'polling the heads of tailed sessions failed',
        )
      }
    }
  }
}
