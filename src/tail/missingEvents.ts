import type { Db } from '../db/pool.ts'
import type { Log } from '../ops/log.ts'
import type { Metrics } from '../ops/metrics.ts'
import { AppError, replicaLags } from '../protocol/errors.ts'
import type { Seq } from '../protocol/event.ts'
import { type LogEnd, readLogEnd } from './queries.ts'

/**
 * Finds out why an event that must exist is missing: the server is a replica that lags, the log went back (the database was
 * restored), the session was erased, or the history is damaged. Readers read twice before they report damage, since a segment
 * may have moved, or the server may have changed, between two of their statements.
 */
export class MissingEvents {
  readonly #db: Db
  readonly #log: Log
  readonly #metrics: Metrics

  constructor(db: Db, log: Log, metrics: Metrics) {
    this.#db = db
    this.#log = log
    this.#metrics = metrics
  }

  /** Resolves when the log should have the event. Throws session_erased, history_changed, storage_unavailable. */
  async expect(sid: string, seq: Seq): Promise<LogEnd | undefined> {
    const end = await readLogEnd(this.#db, sid)
    if (end?.erased) throw new AppError('session_erased', 'the session was erased')
    if (end && end.lastSeq >= seq) return end
    if (end?.isReplica) throw replicaLags()
    throw new AppError(
      'history_changed',
      `event ${seq} is no longer in the log, which ends at ${end?.lastSeq ?? 0}: read the session again`,
      { last_seq: end?.lastSeq ?? 0 },
    )
  }

  /** Logs and counts the damage, and throws history_damaged. Throws the errors of `expect` when the event need not exist. */
  async report(sid: string, seq: Seq): Promise<never> {
    const end = await this.expect(sid, seq)
    this.#metrics.historyDamaged()
    this.#log.error(
      { tenant: end?.tenantId, session: end?.sessionId, sid, seq },
      'history is damaged: an event that must exist is in no tier',
    )
    throw new AppError(
      'history_damaged',
      `event ${seq} is missing in storage. Readers never skip it; the operator has to repair the log`,
      { seq },
    )
  }
}
