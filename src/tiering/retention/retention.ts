import { classify } from '../../db/failure.ts'
import type { DbSession } from '../../db/session.ts'
import type { Log } from '../../ops/log.ts'
import * as queries from './queries.ts'

export interface RetentionOptions {
  /** The time between the request of an erasure by age and the erasure, as observed by jobs. */
  readonly graceMs: number
  readonly log: Log
  readonly signal: AbortSignal
  /** Milliseconds on a monotonic clock. */
  readonly monotonic?: () => number
}

/**
 * Erases by age, in two steps: what is due by the rules is requested; once the grace is over, and it is still due,
 * its erasure starts, which the eraser completes. Does nothing while the database's clock is not trusted
 * (sql/observe_clock.sql).
 */
export class Retention {
  readonly #options: RetentionOptions
  readonly #monotonic: () => number
  /** When this process last found the clock right, and how much time had been observed by then. */
  #trusted: { readonly atMs: number; readonly observedSeconds: number } | undefined
  #hasLogged = false

  constructor(options: RetentionOptions) {
    this.#options = options
    this.#monotonic = options.monotonic ?? (() => performance.now())
  }

  /** Runs one bounded pass. `session` holds the job's lock. */
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
    if (sessions + segments > 0) log.info({ sessions, segments }, 'retention started erasures')
  }

  /** Seconds observed so far; undefined while the database's clock is ahead. */
  async #observe(session: DbSession): Promise<number | undefined> {
    const now = this.#monotonic()
    const { atMs = now, observedSeconds = 0 } = this.#trusted ?? {}
    const watched = this.#trusted && { elapsedSeconds: (now - atMs) / 1000, observedSeconds }
    const clock = await queries.observeClock(session, watched, new Date())
    const { log } = this.#options
    if (!clock.trusted) {
      const message =
        'database clock runs ahead: erasure by age is suspended until the clock is right (docs/erasure.md)'
      if (!this.#hasLogged) log.error({ ahead: clock.ahead }, message)
      this.#hasLogged = true
      return undefined
    }
    if (clock.newly) log.warn('database clock is trusted again: erasure by age resumes')
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
        await queries.forgetSession(session, ripe.sid) // a transaction holds it, so it is not idle
      }
    }
    return erased
  }
}
