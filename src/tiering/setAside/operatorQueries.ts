import type { Db } from '../../db/pool.ts'

/** A row of audit.set_aside. Where tenant and session are unknown, they are null. */
export interface SetAsideSession {
  readonly tenant: string | null
  readonly session: string | null
  readonly sid: string
  readonly seq: number
  readonly reason: string
  readonly detail: string
  readonly state: 'set_aside' | 'giving_up' | 'mended' | 'given_up'
  readonly since: string
  readonly checked_at: string
}

/** Lists the sessions that are set aside now, or with `all` also those that were; the oldest first. */
export async function listSetAside(
  db: Db,
  tenantId: string | undefined,
  all: boolean,
): Promise<SetAsideSession[]> {
  const text = `select s.tenant_id, s.id, a.sid, a.seq, a.reason, a.detail,
                       coalesce(a.outcome, case when a.given_up_at is null then 'set_aside' else 'giving_up' end),
                       starcite.wire_time(a.since), starcite.wire_time(a.checked_at)
                  from starcite.set_aside a left join starcite.sessions s on s.sid = a.sid
                 where ($1::text is null or s.tenant_id = $1) and ($2::boolean or a.ended_at is null)
                 order by a.since, a.set_aside_id`
  const rows = await db.query({ text }, [tenantId ?? null, all])
  return rows.map(([tenant, session, sid, seq, reason, detail, state, since, checkedAt]) => ({
    tenant: tenant ?? null,
    session: session ?? null,
    sid: sid as string,
    seq: Number(seq),
    reason: reason as string,
    detail: detail as string,
    state: state as SetAsideSession['state'],
    since: since as string,
    checked_at: checkedAt as string,
  }))
}

export interface GiveUpRequest {
  readonly tenantId: string
  readonly sessionId: string
  readonly reason: string
  /** Who decided; null: the login of the connection. */
  readonly subject: string | null
}

/** The outcomes of sql/give_up_session.sql. */
export async function giveUpSession(
  db: Db,
  { tenantId, sessionId, reason, subject }: GiveUpRequest,
): Promise<'given_up' | 'session_not_found' | 'not_set_aside' | 'cannot_be_given_up'> {
  const text = 'select starcite.give_up_session($1, $2, $3, coalesce($4, session_user::text))'
  const [row] = await db.query({ text }, [tenantId, sessionId, reason, subject])
  return row?.[0] as 'given_up'
}
