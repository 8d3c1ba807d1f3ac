import type { Db } from '../db/pool.ts'
import { AppError, replicaLags } from '../protocol/errors.ts'
import { microseconds, type Seq } from '../protocol/event.ts'
import type { ColdTier } from './coldTier.ts'
import { readEventAt, readIsReplica } from './queries.ts'

/** The session of a cursor, as it was just looked up. */
export interface CursorSession {
  readonly sid: string
  readonly lastSeq: Seq
}

/**
 * Checks that a cursor belongs to this history: after a restore or a lossy failover its seq may be that of another event. No
 * two events have the same seq and the same time, and every reader has seen the time of the event at its cursor.
 */
export class Cursors {
  readonly #db: Db
  readonly #cold: ColdTier

  constructor(db: Db, cold: ColdTier) {
    this.#db = db
    this.#cold = cold
  }

  /** Throws cursor_ahead for a reader that is ahead of the log: it would miss what is appended next. */
  async assertNotAhead(cursor: Seq, lastSeq: Seq): Promise<void> {
    if (cursor <= lastSeq) return
    await this.#assertNotReplica()
    throw new AppError(
      'cursor_ahead',
      `cursor ${cursor} is ahead of the session: its last_seq is ${lastSeq}`,
      {
        last_seq: lastSeq,
      },
    )
  }

  /**
   * Checks the cursor. `insertedAt` is the time of the event at the cursor, as the reader has it; undefined when the reader does
   * not send it. Throws history_changed when the log has another event there; rejects when cold storage cannot be read.
   * `beforeCold` is called before cold storage is read, which may take long.
   */
  async check(
    { sid, lastSeq }: CursorSession,
    cursor: Seq,
    insertedAt: string | undefined,
    beforeCold: () => void = () => {},
  ): Promise<void> {
    if (insertedAt === undefined || cursor === 0) return
    const at = cursor > lastSeq ? undefined : await this.#at(sid, cursor, beforeCold)
    if (cursor <= lastSeq && (at === undefined || at === microseconds(insertedAt))) return // an event in no tier is reported by the read
    if (cursor > lastSeq) await this.#assertNotReplica()
    throw new AppError(
      'history_changed',
      `event ${cursor} of this session is no longer the one of ${insertedAt}: the log went back, read the session again`,
      { last_seq: lastSeq },
    )
  }

  /** The time of an event in microseconds; undefined when it is in no tier. */
  async #at(sid: string, seq: Seq, beforeCold: () => void): Promise<number | undefined> {
    const hot = await readEventAt(this.#db, sid, seq)
    if (hot !== undefined) return hot
    beforeCold()
    return this.coldAt(sid, seq)
  }

  /** The time of an event in cold storage, in microseconds; undefined when it is not there. */
  async coldAt(sid: string, seq: Seq): Promise<number | undefined> {
    return (await this.#cold.sliceAt(sid, seq))?.find((event) => event.seq === seq)?.at
  }

  /** Throws storage_unavailable on a replica: one that lags cannot show that a log is short. */
  async #assertNotReplica(): Promise<void> {
    if (await readIsReplica(this.#db)) throw replicaLags()
  }
}
