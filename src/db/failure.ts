import pg from 'pg'
import { NotPinnedError } from './searchPath.ts'

/** What a failed statement means for the caller. */
export type Failure =
  /** Nothing was sent, or Postgres rolled it back: a retry is safe. */
  | 'retry'
  /** Another transaction holds a row's lock for longer than the lock time-out; nothing was stored. */
  | 'locked'
  /** The connection broke while the statement ran: it may have been committed. */
  | 'unknown'
  /** Postgres cannot run statements now (full, read-only, shutting down), and rolled it back. */
  | 'unavailable'
  /** Postgres refused this statement, and rolled it back. */
  | 'refused'

/** After a failover the old connection may lead to a standby: reconnect to find the primary. */
const READ_ONLY = '25006'
/** Postgres ended an idle connection before it read the statement. */
const IDLE_SESSION_TIMEOUT = '57P05'
/** A statement that was prepared before its tables changed; a new connection prepares it again. */
const FEATURE_NOT_SUPPORTED = '0A000'
/** Limits of Postgres itself, such as a full notification queue, which a commit reports. */
export const PROGRAM_LIMIT_EXCEEDED = '54000'

/**
 * The first SQLSTATE, or class, that matches. A passing state of the server is never `refused`: only errors of a
 * statement or its values are, and errors that are neither in this list nor FATAL.
 */
const FAILURES: readonly (readonly [sqlstate: string, failure: Failure])[] = [
  ['08', 'unknown'], // connection exceptions
  [READ_ONLY, 'unavailable'],
  ['25P03', 'retry'], // idle_in_transaction_session_timeout: nothing was committed
  ['25P04', 'unknown'], // transaction_timeout, FATAL
  ['25', 'unavailable'], // the connection is in another client's transaction: a pooler mixed them up
  ['26000', 'unavailable'], // prepared statements that a pooler does not know
  ['42P05', 'unavailable'], // the same: prepared on this connection by another client
  ['28', 'unavailable'], // the connection was refused, nothing was sent
  ['3D000', 'unavailable'],
  ['40002', 'refused'], // transaction_integrity_constraint_violation
  ['40003', 'unknown'], // statement_completion_unknown
  ['40', 'retry'], // serialization_failure, deadlock_detected
  ['53', 'unavailable'], // disk full, out of memory, too many connections
  ['55P03', 'locked'], // lock_timeout
  ['55', 'unavailable'], // object in use, not in the state it should be in
  ['57P03', 'unavailable'], // cannot_connect_now
  ['57P04', 'unavailable'], // database_dropped
  [IDLE_SESSION_TIMEOUT, 'retry'],
  ['57P', 'unknown'], // shut down, crashed: FATAL, at any moment
  ['57', 'unavailable'], // cancelled
  ['58', 'unavailable'], // errors of the system
  ['72000', 'retry'], // snapshot_too_old
]
/** The append took its time before its segment was closed; a retry takes a later one. */
const NO_APPENDS = new Set(['segment_is_closed', 'segment_is_kept'])
const CHECK_VIOLATION = '23514'

// Connection errors before anything is sent, which pg reports by message only.
const NOT_SENT = /timeout exceeded when trying to connect|Connection terminated due to connection timeout/
const NOT_CONNECTED = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EMFILE', // no file descriptor left for the connection
  'ENFILE',
])

/** Postgres did not answer a statement in time; its outcome is unknown. */
export class QueryTimeoutError extends Error {
  override readonly name = 'QueryTimeoutError'
}

export function classify(error: unknown): Failure {
  if (error instanceof pg.DatabaseError) {
    const { code = '', constraint } = error
    if (NO_APPENDS.has(constraint ?? '') || lacksPartition(error) || isStalePlan(error)) return 'retry'
    if (isOfNotifications(error)) return 'unavailable'
    const known = FAILURES.find(([sqlstate]) => code.startsWith(sqlstate))?.[1]
    // FATAL ends the session at any moment, also during the commit.
    return known ?? (isFatal(error) ? 'unknown' : 'refused')
  }
  if (error instanceof NotPinnedError) return 'unavailable'
  const { code, message } = error as NodeJS.ErrnoException
  if (NOT_CONNECTED.has(code ?? '') || NOT_SENT.test(message ?? '')) return 'unavailable'
  return 'unknown'
}

/** Postgres's clock is beyond what the caller accepts (sql/refuse_time.sql). */
export const isClockAhead = (error: unknown): boolean =>
  error instanceof pg.DatabaseError && error.code === '55SC1'

/** The partition of a row was dropped or detached: a check violation that names no constraint. */
export function lacksPartition(error: unknown): boolean {
  return (
    error instanceof pg.DatabaseError &&
    error.code === CHECK_VIOLATION &&
    error.schema === 'starcite' &&
    error.table === 'events' &&
    error.constraint === undefined
  )
}

/** Whether the error came from an unavailable Postgres, and not from a fault of this program. */
export function isUnavailable(error: unknown): boolean {
  const isFromDatabase =
    error instanceof pg.DatabaseError ||
    error instanceof QueryTimeoutError ||
    error instanceof NotPinnedError ||
    (error instanceof Error &&
      /^(Connection terminated|Query read timeout|timeout exceeded|Client has encountered)/.test(
        error.message,
      )) ||
    (error instanceof Error && 'syscall' in error && 'errno' in error)
  return isFromDatabase && classify(error) !== 'refused'
}

export const isReadOnly = (error: unknown): boolean =>
  error instanceof pg.DatabaseError && error.code === READ_ONLY

/** Whether a connection can be used after the error. */
export function keepsConnection(error: unknown): boolean {
  return error instanceof pg.DatabaseError && !isFatal(error) && !LEAVES.test(error.code ?? '')
}
/** A read-only server, another client's transaction, another client's prepared statements. */
const LEAVES = /^(25|26000|42P05)/

/** Whether Postgres has not looked at the statement, so that it can run on another connection. */
export function wasNotBegun(error: unknown): boolean {
  return error instanceof pg.DatabaseError && (error.code === IDLE_SESSION_TIMEOUT || isStalePlan(error))
}

/** "cached plan must not change result type", recognised by its source location, because messages are translated. */
export const isStalePlan = (error: unknown): boolean =>
  error instanceof pg.DatabaseError &&
  error.code === FEATURE_NOT_SUPPORTED &&
  error.routine === 'RevalidateCachedQuery'

/** Prepared statements that a pooler does not keep: of another client, or on another connection. */
export const lacksStatements = (error: unknown): boolean =>
  error instanceof pg.DatabaseError && (error.code === '26000' || error.code === '42P05')

const isOfNotifications = ({ code, routine }: pg.DatabaseError): boolean =>
  code === PROGRAM_LIMIT_EXCEEDED && /Notify|asyncQueue/.test(routine ?? '')

/** Whether the error ended the session. By code, because Postgres translates the word FATAL. */
function isFatal({ severity, code = '' }: pg.DatabaseError): boolean {
  return severity === 'FATAL' || severity === 'PANIC' || code.startsWith('08') || SHUTDOWN.test(code)
}
const SHUTDOWN = /^57P0[1-5]$|^25P0[34]$/
