import type { Db } from '../db/pool.ts'
import type { Log } from '../ops/log.ts'
import type { Seq } from '../protocol/event.ts'
import { type LogState, readLogStates } from './queries.ts'
import type { TailedSession } from './tailedSession.ts'

export interface LogVerifierOptions {
  readonly db: Db
  readonly log: Log
  /** The `at` of a cold event, as in Head; undefined when the event does not exist. */
  readonly coldAt?: (sid: string, seq: Seq) => Promise<number | undefined>
}

/** The result of comparing a session with the database; 'unknown' when the database cannot show it yet. */
export type Verdict = 'same' | 'gone' | 'unknown'

/**
 * Compares the newest event that a node knows of a session with the database. No two events have the same seq and the same
 * time, so this event shows whether the log went back behind it.
 */
export class LogVerifier {
  readonly #options: LogVerifierOptions

  constructor(options: LogVerifierOptions) {
    this.#options = options
  }

  /** Reads the logs of the sessions, by sid, in one query. */
  async read(sessions: readonly TailedSession[]): Promise<Map<string, LogState>> {
    const known = sessions.map((session) => ({ sid: session.sid, seq: session.known?.seq ?? 0 }))
    const states = await readLogStates(this.#options.db, known)
    return new Map(states.map((state) => [state.sid, state]))
  }

  async compare(session: TailedSession, state: LogState | undefined): Promise<Verdict> {
    if (state === undefined) return 'unknown'
    const { head, atKnown, name, isReplica } = state
    const { known } = session
    if (known === undefined) return 'same'
    if (head === undefined || head.lastSeq < known.seq) return isReplica ? 'unknown' : 'gone'
    if (name !== session.name) return 'gone'
    if (head.erased) return 'same'
    try {
      const at = atKnown ?? (await this.#options.coldAt?.(session.sid, known.seq))
      // An event in no tier does not show that the log went back: its readers report the damage.
      return at === undefined || at === known.at ? 'same' : 'gone'
    } catch (error) {
      this.#options.log.warn(
        { err: error, sid: session.sid },
        'cold storage unavailable: cannot tell whether a log went back',
      )
      return 'unknown'
    }
  }
}
