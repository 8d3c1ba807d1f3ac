import type { DbSession } from '../../db/session.ts'

/** How many sessions one pass looks at; the next goes on behind them. */
const SESSIONS_PER_PASS = 20_000
const SEGMENTS_PER_PASS = 200

export async function hasRules(session: DbSession): Promise<boolean> {
  const [row] = await session.query('select exists (select from starcite.retention_rules)')
  return row?.[0] === 't'
}

export interface DueSession {
  readonly sid: string
  readonly tenantId: string
  readonly sessionId: string
}

/** The next sessions that are due, of those that are looked at now. */
export async function nextDueSessions(session: DbSession): Promise<DueSession[]> {
  const rows = await session.query(
    `select d.sid, d.tenant_id, d.session_id
       from starcite.settings c
      cross join lateral starcite.sessions_due(c.value::bigint, $1) d
      where c.name = 'retention_cursor'`,
    [SESSIONS_PER_PASS],
  )
  return rows.map(([sid, tenantId, sessionId]) => ({
    sid: sid as string,
    tenantId: tenantId as string,
    sessionId: sessionId as string,
  }))
}

/** Those were looked at; behind the last session it begins anew. */
export async function advance(session: DbSession): Promise<void> {
  await session.query(
    `update starcite.settings c
        set value = coalesce((select max(s.sid) from (select s.sid from starcite.sessions s where s.sid > c.value::bigint
                                                       order by s.sid limit $1) s
                              having count(*) = $1), 0)::text
      where c.name = 'retention_cursor'`,
    [SESSIONS_PER_PASS],
  )
}

/** False when it is no longer due: something happened to it, or it is held. */
export async function eraseIdle(
  session: DbSession,
  { sid, tenantId, sessionId }: DueSession,
): Promise<boolean> {
  return session.transaction(async () => {
    await session.query(`set local lock_timeout = '1s'`)
    await session.query('select from starcite.session_heads h where h.sid = $1 for no key update', [sid])
    const [row] = await session.query(
      `select e.outcome
         from starcite.sessions_due($1::bigint - 1, 1) d
        cross join lateral starcite.erase_session($2, $3, 'retention', null,
                             format('nothing happened since %s', starcite.wire_time(d.idle_since))) e
        where d.sid = $1`,
      [sid, tenantId, sessionId],
    )
    return row?.[0] === 'erased'
  })
}

/** Asks for the erasure of what is due by the age of its segment. Answers how many erasures that are. */
export async function eraseAged(session: DbSession): Promise<number> {
  const rows = await session.query(
    `insert into starcite.erasures (kind, tenant_id, segment, subject, reason)
     select 'segment', d.tenant_id, d.segment, 'retention', format('the segment ended at %s', starcite.wire_time(d.ended_at))
       from starcite.segments_due() d
      limit $1
         on conflict do nothing
     returning erasure_id`,
    [SEGMENTS_PER_PASS],
  )
  return rows.length
}
