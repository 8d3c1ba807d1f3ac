import { classify } from '../../db/failure.ts'
import type { DbSession } from '../../db/session.ts'
import type { Log } from '../../ops/log.ts'
import * as queries from './queries.ts'

export interface RetentionOptions {
  /** Between the request of an erasure by age and the erasure, in time that jobs have watched pass. */
  readonly graceMs: number
  readonly log: Log
  readonly signal: AbortSignal
  /** Milliseconds on a clock that never jumps. */
  readonly monotonic?: () => number
}

/**
 * Erases by age, in two steps: what the rules say is due is requested; once the grace is over, and it is still due, its
 * erasure is asked for, and what has to be done for that is the eraser's. Does nothing while the database's clock cannot
 * be trusted (sql/observe_clock.sql).
 */
export class Retention {
  readonly #options: RetentionOptions
  readonly #monotonic: () => number
  /** When this process last found the clock right, and how much had been watched by then. */
  #trusted: { readonly atMs: number; readonly observedSeconds: number } | undefined
  #hasLogged = false

  constructor(options: RetentionOptions) {
    this.#options = options
    this.#monotonic = options.monotonic ?? (() => performance.now())
  }

  /** One bounded pass. `session` holds the job's lock. */
  async pass(session: DbSession): Promise<void> {
    await queries.forgetOldDigests(session)
    if (!(await queries.hasRules(session))) return queries.withdrawAll(session)
    const observedSeconds = await this.#observe(session)
    if (observedSeconds === undefined) return

    const { log, graceMs } = this.#options
    const requested = await queries.request(session, observedSeconds)
    if (requested > 0) log.info({ requested, graceMs }, 'retention requested erasures')
    const requestedBefore = observedSeconds - graceMs / 1000
    const sessions = await this.#eraseSessions(session, requestedBefore)
    const segments = await queries.eraseAged(session, requestedBefore)
    if (sessions + segments > 0) log.info({ sessions, segments }, 'retention asked for erasures')
  }

  /** Seconds watched so far; undefined when the database's clock is ahead. */
  async #observe(session: DbSession): Promise<number | undefined> {
    const now = this.#monotonic()
    const { atMs = now, observedSeconds = 0 } = this.#trusted ?? {}
    const watched = this.#trusted && { elapsedSeconds: (now - atMs) / 1000, observedSeconds }
    const clock = await queries.observeClock(session, watched, new Date())
    const { log } = this.#options
    if (!clock.trusted) {
      const message =
        "the database's clock runs ahead: nothing is erased by age until it is right (docs/erasure.md)"
      if (!this.#hasLogged) log.error({ ahead: clock.ahead }, message)
      this.#hasLogged = true
      return undefined
    }
    if (clock.newly) log.warn("the database's clock is trusted again: erasing by age goes on")
    this.#hasLogged = false
    this.#trusted = { atMs: now, observedSeconds: clock.observedSeconds }
    return clock.observedSeconds
  }

  async #eraseSessions(session: DbSession, requestedBefore: number): Promise<number> {
    let erased = 0
    for (const ripe of await queries.ripeSessions(session, requestedBefore)) {
      if (this.#options.signal.aborted) break
      try {
        if (await queries.eraseIdle(session, ripe)) erased += 1
      } catch (error) {
        if (classify(error) !== 'locked') throw error
        await queries.forgetSession(session, ripe.sid) // somebody is at it, so it is not idle
      }
    }
    return erased
  }
}
