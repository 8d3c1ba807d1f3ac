import type { DbSession } from '../db/session.ts'
import type { Log } from '../ops/log.ts'
import { confirmTime, dueSegments, type Segment } from './queries.ts'

/** In the ordinary course it is two hours at most (sql/confirm_time.sql), and the time between two passes. */
const MAX_BEHIND_SECONDS = 3 * 3600

/** Finds the segments that are due, and logs once when the database's clock is far ahead of the confirmed time. */
export class DueSegments {
  readonly #log: Log
  #isBehind = false

  constructor(log: Log) {
    this.#log = log
  }

  /** Oldest first. `session` holds the job's lock. */
  async find(session: DbSession): Promise<Segment[]> {
    const { confirmed, behindSeconds } = await confirmTime(session)
    const isBehind = behindSeconds > MAX_BEHIND_SECONDS
    if (isBehind && !this.#isBehind)
      this.#log.warn(
        { confirmed },
        'confirmed time is far behind: the database clock jumped ahead, or no tiering job has run for long; segments that end later wait for an hour or two',
      )
    this.#isBehind = isBehind
    return dueSegments(session, confirmed)
  }
}
