import type { Db } from '../db/pool.ts'

/**
 * A rule: ages after which content is erased, as Postgres intervals; null: never. A null tenant: all tenants without
 * a rule of their own.
 */
export interface Rule {
  readonly tenant: string | null
  readonly content_after: string | null
  readonly session_after: string | null
}

export async function listRules(db: Db): Promise<Rule[]> {
  const text = `select r.tenant_id, r.content_after::text, r.session_after::text
                  from starcite.retention_rules r order by r.tenant_id nulls first`
  const rows = await db.query({ text }, [])
  return rows.map(([tenant, content, session]) => ({
    tenant: tenant ?? null,
    content_after: content ?? null,
    session_after: session ?? null,
  }))
}

/**
 * Rejects with the errors of sql/set_retention.sql: 22023, when content would have to be erased while it is still
 * hot.
 */
export async function setRule(db: Db, rule: Rule): Promise<void> {
  const text = 'select starcite.set_retention($1, $2::interval, $3::interval)'
  await db.query({ text }, [rule.tenant, rule.content_after, rule.session_after])
}

/** Returns whether there was a rule. */
export async function removeRule(db: Db, tenant: string | null): Promise<boolean> {
  const text = `with rule as materialized (select from starcite.retention_rules r where r.tenant_id is not distinct from $1)
                select starcite.set_retention($1, null, null, true) from rule`
  return (await db.query({ text }, [tenant])).length > 0
}

export interface DueSession {
  readonly tenant: string
  readonly session: string
  readonly events: number
  readonly idle_since: string
}

export interface DueSegment {
  readonly tenant: string
  readonly segment: string
  readonly ended_at: string
  readonly events: number
  readonly sessions: number
  readonly held: number
}

/** What the rules would erase now. Scans every session. */
export async function listDue(db: Db): Promise<{ sessions: DueSession[]; segments: DueSegment[] }> {
  const sessions = await db.query(
    {
      text: `select d.tenant_id, d.session_id, d.events, starcite.wire_time(d.idle_since) from starcite.sessions_due() d`,
    },
    [],
  )
  const segments = await db.query(
    {
      text: `select d.tenant_id, d.segment, starcite.wire_time(d.ended_at), d.events, d.sessions, d.held
               from starcite.segments_due() d`,
    },
    [],
  )
  return {
    sessions: sessions.map(([tenant, session, events, idleSince]) => ({
      tenant: tenant as string,
      session: session as string,
      events: Number(events),
      idle_since: idleSince as string,
    })),
    segments: segments.map(([tenant, segment, endedAt, events, count, held]) => ({
      tenant: tenant as string,
      segment: segment as string,
      ended_at: endedAt as string,
      events: Number(events),
      sessions: Number(count),
      held: Number(held),
    })),
  }
}

export interface RetentionRequest {
  readonly tenant: string
  /** One of the two is null. */
  readonly session: string | null
  readonly segment: string | null
  readonly requested_at: string
  /** The time since the request that jobs have observed; when it exceeds the grace, the erasure is carried out. */
  readonly watched_seconds: number
}

/** The requested erasures whose grace is not over, oldest first. */
export async function listRequests(
  db: Db,
): Promise<{ requests: RetentionRequest[]; clockAhead: string | null }> {
  const requests = await db.query(
    {
      text: `select r.tenant_id, s.id, r.segment, starcite.wire_time(r.requested_at), c.observed_seconds - r.requested_seconds
               from starcite.retention_requests r
              cross join starcite.retention_clock c
               left join starcite.sessions s on s.sid = r.sid
              order by r.retention_request_id`,
    },
    [],
  )
  const [clock] = await db.query({ text: 'select c.ahead::text from starcite.retention_clock c' }, [])
  return {
    requests: requests.map(([tenant, session, segment, requestedAt, watched]) => ({
      tenant: tenant as string,
      session: session ?? null,
      segment: segment ?? null,
      requested_at: requestedAt as string,
      watched_seconds: Number(watched),
    })),
    clockAhead: clock?.[0] ?? null,
  }
}

/** For an operator who has verified that the database's clock is right (sql/trust_clock.sql). */
export async function trustClock(db: Db): Promise<void> {
  await db.query({ text: 'select starcite.trust_clock()' }, [])
}
