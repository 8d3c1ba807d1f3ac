import { jittered, pause } from '../lib/backoff.ts'
import { endOfTurn } from '../lib/endOfTurn.ts'
import type { Metrics } from '../ops/metrics.ts'
import type { Seq } from '../protocol/event.ts'
import { LogVerifier, type LogVerifierOptions } from './logVerifier.ts'
import {
  type Head,
  type LogPosition,
  type LogState,
  NO_HEAD,
  type PageBounds,
  readHeads,
  readHotAfterMany,
} from './queries.ts'
import { Ring, type RingBounds, type RingBudget } from './ring.ts'
import type { TailedSession } from './tailedSession.ts'

export interface RingFillerOptions extends LogVerifierOptions {
  /** The bounds of each ring. */
  readonly ringBounds: RingBounds
  readonly budget: RingBudget
  readonly metrics: Metrics
  /** Aborted when the hub stops. */
  readonly signal: AbortSignal
  /** Ends the tails of a session whose log went back. */
  readonly onGone: (session: TailedSession) => void
}

/** Sessions per query. */
const SESSIONS_PER_READ = 200
const FILL_BOUNDS: PageBounds = { events: 256, bytes: 256 * 1024 }
const RETRY_BASE_MS = 50
const RETRY_MAX_MS = 1000

/**
 * Gives tailed sessions their rings and keeps the rings up with their heads: reads what is missing from Postgres, once per
 * session and node, several sessions in one query. A session that is unverified is compared with the database first.
 */
export class RingFiller {
  readonly #options: RingFillerOptions
  readonly #verifier: LogVerifier
  /** Sessions whose ring may be behind: it has to be positioned or filled. */
  readonly #behind = new Set<TailedSession>()
  #filling: Promise<void> | undefined
  /** Counts the times at which the database may have gone back. Results that were read before are discarded. */
  #verifications = 0

  constructor(options: RingFillerOptions) {
    this.#options = options
    this.#verifier = new LogVerifier(options)
  }

  /** Has the session's ring filled: it may be behind its head. */
  add(session: TailedSession): void {
    if (session.endReason !== undefined) return
    this.#behind.add(session)
    this.#filling ??= this.#fill().finally(() => {
      this.#filling = undefined
    })
  }

  /** The session has no tails left. */
  remove(session: TailedSession): void {
    this.#behind.delete(session)
  }

  /** Sends nothing of the session before it was compared with the database. */
  verify(session: TailedSession): void {
    session.isUnverified = true
    this.add(session)
  }

  /** The same for all these sessions, when the database may have gone back. */
  verifyAll(sessions: Iterable<TailedSession>): void {
    this.#verifications += 1
    for (const session of sessions) this.verify(session)
  }

  /** Resolves when the read under way is over; abort the signal first. */
  async stopped(): Promise<void> {
    await this.#filling
  }

  /** Fills rings in a self-clocking loop: sessions that fall behind during one read are read next. */
  async #fill(): Promise<void> {
    const { signal, log } = this.#options
    await endOfTurn()
    for (let failures = 0; this.#behind.size > 0 && !signal.aborted; ) {
      const some = [...this.#behind].slice(0, SESSIONS_PER_READ)
      try {
        const areAllKnown = await this.#position(
          some.filter((session) => session.isUnverified || session.ring === undefined),
        )
        await this.#readOn(some)
        failures = areAllKnown ? 0 : failures + 1
        if (!areAllKnown) await pause(jittered(failures, RETRY_BASE_MS, RETRY_MAX_MS), signal)
      } catch (error) {
        log.warn({ err: error, sessions: some.length }, 'reading events for tails failed: retrying')
        await pause(jittered(failures, RETRY_BASE_MS, RETRY_MAX_MS), signal)
        failures += 1
      }
    }
  }

  /** Compares sessions with the database, and creates the missing rings. False when some have to wait. */
  async #position(sessions: readonly TailedSession[]): Promise<boolean> {
    if (sessions.length === 0) return true
    const verifications = this.#verifications
    const states = await this.#verifier.read(sessions)
    if (verifications !== this.#verifications) return true // the states may be from another database: read again
    const gone: TailedSession[] = []
    let areAllKnown = true
    for (const session of sessions) {
      const state = states.get(session.sid)
      const verdict = await this.#verifier.compare(session, state)
      if (verifications !== this.#verifications) return true
      if (verdict === 'gone') gone.push(session)
      else if (verdict === 'unknown') areAllKnown = false
      else this.#settle(session, state?.head ?? NO_HEAD, state?.name)
    }
    if (gone.length > 0 && !(await this.#lookAgain(gone))) return false
    return areAllKnown
  }

  /**
   * Reads the sessions again over new connections: the server that answered may no longer be the primary. False when some
   * sessions have to wait.
   */
  async #lookAgain(sessions: readonly TailedSession[]): Promise<boolean> {
    this.#options.db.renew()
    const verifications = this.#verifications
    const states = await this.#verifier.read(sessions)
    let areAllKnown = true
    for (const session of sessions) {
      const state = states.get(session.sid)
      if (state === undefined || (await this.#verifier.compare(session, state)) !== 'gone') {
        this.verify(session)
        areAllKnown = false
      } else if (verifications === this.#verifications) this.#giveUp(session, state)
    }
    return areAllKnown
  }

  #giveUp(session: TailedSession, { head, name }: LogState): void {
    const { metrics, log, onGone } = this.#options
    metrics.historyChanged()
    log.error(
      {
        sid: session.sid,
        session: session.name,
        isNow: name,
        known: session.known?.seq,
        lastSeq: head?.lastSeq,
      },
      'the log of a session went back: its tails end',
    )
    session.endReason = 'history_changed'
    session.dropRing()
    this.remove(session)
    onGone(session)
    session.wake()
  }

  /** Accepts a session whose log did not go back, or was not known before. */
  #settle(session: TailedSession, { lastSeq, epoch, erased, at }: Head, name: string | undefined): void {
    session.isUnverified = false
    session.name = name
    session.head = Math.max(session.head, lastSeq)
    // An epoch can go back too: content erased since the backup exists again, and may be erased again.
    if (session.epoch !== undefined && session.epoch !== epoch) session.dropRing()
    session.epoch = epoch
    if (erased) {
      session.endReason = 'session_erased'
      this.remove(session)
    } else if (session.ring === undefined) this.#restart(session, { seq: lastSeq, at })
    session.wake()
  }

  #restart(session: TailedSession, last: LogPosition): void {
    // This node's own commits may have moved the ring while we read.
    if (session.ring && session.ring.last >= last.seq) return
    session.ring?.clear()
    session.ring = new Ring(last.seq, this.#options.ringBounds, this.#options.budget)
    session.known = last
  }

  async #readOn(some: readonly TailedSession[]): Promise<void> {
    const behind = some.flatMap((session) =>
      session.ring && !session.isUnverified && session.ring.last < session.head
        ? [{ session, sid: session.sid, cursor: session.ring.last }]
        : [],
    )
    if (behind.length > 0) {
      const events = await readHotAfterMany(this.#options.db, behind, FILL_BOUNDS)
      const astray: { session: TailedSession; head: Seq }[] = []
      for (const { session, cursor } of behind) {
        const own = events.get(session.sid) ?? []
        this.#options.metrics.read('hot', own.length)
        // Its last tail may have ended meanwhile, and its memory may have been released.
        if (session.tails === 0 || session.isUnverified || !session.ring) continue
        if (own[0]?.seq === cursor + 1) {
          if (!session.push(session.ring, own)) this.verify(session)
        } else astray.push({ session, head: session.head })
        session.wake()
      }
      await this.#reposition(astray)
    }
    for (const session of some)
      if (session.ring && !session.isUnverified && session.ring.last >= session.head) this.remove(session)
  }

  /**
   * Moves rings whose next event is no longer hot to the head: tails that need that event read it from storage. A head that
   * came from a wrong hint is set to the real one.
   */
  async #reposition(astray: readonly { session: TailedSession; head: Seq }[]): Promise<void> {
    if (astray.length === 0) return
    const heads = await readHeads(
      this.#options.db,
      astray.map(({ session }) => session.sid),
    )
    for (const { session, head } of astray) {
      const { lastSeq: real, at } = heads.get(session.sid) ?? NO_HEAD
      if (session.isUnverified || session.ring === undefined) continue // the next pass positions it
      if (head > real) {
        if (session.head === head) session.head = real // another hint is handled in the next pass
      } else this.#restart(session, { seq: real, at })
      session.wake()
    }
  }
}
