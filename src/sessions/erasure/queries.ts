import type { Db } from '../../db/pool.ts'

/** Who requests an erasure, and how it is done. */
export interface ErasureRequest {
  readonly tenantId: string
  readonly sessionId: string
  /** Null without authentication. */
  readonly subject: string | null
  readonly requestId: string
  readonly reason: string | null
  /** Whether to vacuum the tables that had the content. */
  readonly vacuum: boolean
}

/** The outcomes of sql/erase_session.sql and sql/redact_event.sql. */
export interface Requested<Outcome extends string> {
  readonly outcome: Outcome | 'session_not_found' | 'legal_hold'
  /** The erasure's, where there is one. */
  readonly id: string | null
}

const ERASE_SESSION = {
  name: 'erase_session',
  notifies: true as const,
  text: 'select e.outcome, e.id from starcite.erase_session($1, $2, $3, $4, $5, $6) e',
}

export async function eraseSession(
  db: Db,
  request: ErasureRequest,
): Promise<Requested<'erased' | 'already_erased'>> {
  const { tenantId, sessionId, subject, requestId, reason, vacuum } = request
  const values = [tenantId, sessionId, subject, requestId, reason, vacuum]
  const [row] = await db.query(ERASE_SESSION, values)
  return { outcome: row?.[0] as 'erased', id: row?.[1] ?? null }
}

const REDACT_EVENT = {
  name: 'redact_event',
  notifies: true as const,
  text: 'select e.outcome, e.id from starcite.redact_event($1, $2, $3, $4, $5, $6, $7) e',
}

export async function redactEvent(
  db: Db,
  request: ErasureRequest,
  seq: number,
): Promise<Requested<'redacted' | 'already_redacted' | 'session_erased' | 'event_not_found'>> {
  const { tenantId, sessionId, subject, requestId, reason, vacuum } = request
  const values = [tenantId, sessionId, seq, subject, requestId, reason, vacuum]
  const [row] = await db.query(REDACT_EVENT, values)
  return { outcome: row?.[0] as 'redacted', id: row?.[1] ?? null }
}

/** An erasure as its receipt shows it. */
export interface Erasure {
  readonly id: string
  readonly kind: 'session' | 'event'
  readonly sessionId: string
  readonly firstSeq: number
  readonly lastSeq: number
  readonly isDone: boolean
  readonly requestedAt: string
  readonly completedAt: string | null
  readonly subject: string | null
  readonly requestId: string | null
  readonly reason: string | null
  /** Hex; null for an event. */
  readonly chainHash: string | null
  readonly hotEvents: number
  readonly coldEvents: number
  readonly objects: number
  readonly error: string | null
}

const FIND_ERASURE = {
  name: 'find_erasure',
  text: `select e.id, e.kind, s.id, e.first_seq, e.last_seq, e.state, starcite.wire_time(e.requested_at),
                starcite.wire_time(e.completed_at), e.subject, e.request_id, e.reason, encode(e.chain_hash, 'hex'),
                e.hot_events, e.cold_events, e.objects, e.last_error
           from starcite.erasures e join starcite.sessions s on s.sid = e.sid
          where e.tenant_id = $1 and e.id = $2::uuid`,
}

/** Undefined when the tenant has no erasure of that id. */
export async function findErasure(db: Db, tenantId: string, id: string): Promise<Erasure | undefined> {
  const [row] = await db.query(FIND_ERASURE, [tenantId, id])
  if (row === undefined) return undefined
  return {
    id: row[0] as string,
    kind: row[1] as Erasure['kind'],
    sessionId: row[2] as string,
    firstSeq: Number(row[3]),
    lastSeq: Number(row[4]),
    isDone: row[5] === 'done',
    requestedAt: row[6] as string,
    completedAt: row[7] ?? null,
    subject: row[8] ?? null,
    requestId: row[9] ?? null,
    reason: row[10] ?? null,
    chainHash: row[11] ?? null,
    hotEvents: Number(row[12]),
    coldEvents: Number(row[13]),
    objects: Number(row[14]),
    error: row[15] ?? null,
  }
}
