import type { Db } from '../db/pool.ts'

/** A session by its names, and the subject that acts; without a `subject`, the login of the connection. */
export interface HoldRequest {
  readonly tenantId: string
  readonly sessionId: string
  readonly subject: string | null
}

/** The outcomes of sql/hold_session.sql. */
export async function holdSession(
  db: Db,
  { tenantId, sessionId, subject }: HoldRequest,
  reason: string,
): Promise<'held' | 'session_not_found' | 'session_erased'> {
  const text = 'select starcite.hold_session($1, $2, $3, coalesce($4, session_user::text))'
  const [row] = await db.query({ text }, [tenantId, sessionId, reason, subject])
  return row?.[0] as 'held'
}

/** The outcomes of sql/release_session.sql. */
export async function releaseSession(
  db: Db,
  { tenantId, sessionId, subject }: HoldRequest,
): Promise<'released' | 'not_held'> {
  const text = `with actor as materialized (select pg_catalog.set_config('starcite.actor', coalesce($3, ''), true))
                select starcite.release_session($1, $2) from actor`
  const [row] = await db.query({ text }, [tenantId, sessionId, subject])
  return row?.[0] as 'released'
}

export interface Hold {
  readonly tenant: string
  readonly session: string
  readonly reason: string | null
  readonly subject: string | null
  readonly held_at: string
}

/** All holds, or those of a tenant; oldest first. */
export async function listHolds(db: Db, tenantId: string | undefined): Promise<Hold[]> {
  const text = `select s.tenant_id, s.id, l.reason, l.subject, starcite.wire_time(l.held_at)
                  from starcite.legal_holds l join starcite.sessions s on s.sid = l.sid
                 where $1::text is null or s.tenant_id = $1
                 order by l.held_at, l.sid`
  const rows = await db.query({ text }, [tenantId ?? null])
  return rows.map(([tenant, session, reason, subject, heldAt]) => ({
    tenant: tenant as string,
    session: session as string,
    reason: reason ?? null,
    subject: subject ?? null,
    held_at: heldAt as string,
  }))
}
