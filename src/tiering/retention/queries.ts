import type { DbSession } from '../../db/session.ts'

/** How many sessions one pass examines; the next pass continues after them. */
const SESSIONS_PER_PASS = 20_000
/** The most that one pass erases, so that a wrong rule or clock needs long to do much. */
const ERASED_PER_PASS = 1000
const SEGMENTS_PER_PASS = 200

export async function hasRules(session: DbSession): Promise<boolean> {
  const [row] = await session.query('select exists (select from starcite.retention_rules)')
  return row?.[0] === 't'
}

/** The result of starcite.observe_clock. */
export interface Clock {
  readonly trusted: boolean
  /** Whether the clock's state has changed since the last observation. */
  readonly newly: boolean
  /** How far the database's clock runs ahead, as a Postgres interval; null when the clock is trusted. */
  readonly ahead: string | null
  readonly observedSeconds: number
}

/** The time that a process has observed itself since it last found the clock right. */
export interface Watched {
  /** On the process's monotonic clock. */
  readonly elapsedSeconds: number
  /** `observedSeconds` at that time. */
  readonly observedSeconds: number
}

/**
 * Records the observed time. `watched` is undefined when this process has not found the clock right yet. Time that
 * other processes have counted meanwhile is the same time, and is not counted again: nodes take turns at the job.
 */
export async function observeClock(
  session: DbSession,
  watched: Watched | undefined,
  now: Date,
): Promise<Clock> {
  const [row] = await session.query(
    `select c.trusted, c.newly, c.ahead::text, c.observed_seconds
       from starcite.retention_clock k
      cross join lateral starcite.observe_clock(
              case when $1::float8 is not null then greatest(0, $1 - greatest(0, k.observed_seconds - $2::float8)) end, $3) c`,
    [watched?.elapsedSeconds ?? null, watched?.observedSeconds ?? null, now.toISOString()],
  )
  const [trusted, newly, ahead, observed] = row ?? []
  return {
    trusted: trusted === 't',
    newly: newly === 't',
    ahead: ahead ?? null,
    observedSeconds: Number(observed),
  }
}

/** Requests the erasure of what is due, among the sessions of this pass and all segments. */
export async function request(session: DbSession, observedSeconds: number): Promise<number> {
  const sessions = await session.query(
    `insert into starcite.retention_requests (tenant_id, sid, requested_seconds)
     select d.tenant_id, d.sid, $2
       from starcite.settings c
      cross join lateral starcite.sessions_due(c.value::bigint, $1) d
      where c.name = 'retention_cursor'
         on conflict do nothing
     returning sid`,
    [SESSIONS_PER_PASS, observedSeconds],
  )
  await session.query(
    `update starcite.settings c
        set value = coalesce((select max(s.sid) from (select s.sid from starcite.sessions s where s.sid > c.value::bigint
                                                       order by s.sid limit $1) s
                              having count(*) = $1), 0)::text
      where c.name = 'retention_cursor'`,
    [SESSIONS_PER_PASS],
  )
  const segments = await session.query(
    `insert into starcite.retention_requests (tenant_id, segment, requested_seconds)
     select d.tenant_id, d.segment, $1 from starcite.segments_due() d
         on conflict do nothing
     returning segment`,
    [observedSeconds],
  )
  return sessions.length + segments.length
}

/** Erasures of segments whose digests one pass examines. */
const DIGESTS_PER_PASS = 20

const FORGET_OLD_DIGESTS = `with c as materialized (
     select s.value::bigint as after from starcite.settings s where s.name = 'retention_digests_cursor'
   ), due as materialized (
     select e.erasure_id, e.segment, e.tenant_id, e.done_object_id
       from starcite.erasures e, c
      where e.kind = 'segment' and e.erasure_id > c.after and e.state = 'done'
        and not exists (select from starcite.erasures p
                         where p.kind = 'segment' and p.state = 'pending' and p.erasure_id > c.after
                           and p.erasure_id < e.erasure_id)
      order by e.erasure_id limit $1
   ), forgotten as (
     update starcite.producers p set digest = ''
       from due e
       join starcite.objects o on o.segment = e.segment and o.tenant_id = e.tenant_id and o.object_id <= e.done_object_id
       join starcite.slices s on s.object_id = o.object_id
      where p.sid = s.sid and p.seq between s.first_seq and s.last_seq and p.digest <> ''
        and not exists (select from starcite.legal_holds l where l.sid = s.sid)
   )
   update starcite.settings s set value = (select max(e.erasure_id) from due e)::text
    where s.name = 'retention_digests_cursor' and exists (select from due)`

/**
 * Empties the digests that earlier releases have left of what they erased by age, some erasures a pass, because a
 * digest without a salt would confirm a guess. Erasures since then leave none (erase/objectQueries.ts).
 */
export async function forgetOldDigests(session: DbSession): Promise<void> {
  await session.query(FORGET_OLD_DIGESTS, [DIGESTS_PER_PASS])
}

/** Withdraws every request, because without rules none may stay. */
export async function withdrawAll(session: DbSession): Promise<void> {
  await session.query('delete from starcite.retention_requests')
}

export interface RipeSession {
  readonly sid: string
  readonly tenantId: string
  readonly sessionId: string
}

/** Sessions whose grace is over, the longest requested first. They may no longer be due. */
export async function ripeSessions(session: DbSession, requestedBefore: number): Promise<RipeSession[]> {
  const rows = await session.query(
    `select r.sid, s.tenant_id, s.id
       from starcite.retention_requests r
       join starcite.sessions s on s.sid = r.sid
      where r.requested_seconds <= $1
      order by r.retention_request_id limit $2`,
    [requestedBefore, ERASED_PER_PASS],
  )
  return rows.map(([sid, tenantId, sessionId]) => ({
    sid: sid as string,
    tenantId: tenantId as string,
    sessionId: sessionId as string,
  }))
}

/** Withdraws the request, and erases the session if it is still due. False: the session has changed, or is held. */
export async function eraseIdle(
  session: DbSession,
  { sid, tenantId, sessionId }: RipeSession,
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
    await forgetSession(session, sid)
    return row?.[0] === 'erased'
  })
}

export async function forgetSession(session: DbSession, sid: string): Promise<void> {
  await session.query('delete from starcite.retention_requests r where r.sid = $1', [sid])
}

/** Starts the erasure of segments whose grace is over and which are still due. Returns the number of erasures. */
export async function eraseAged(session: DbSession, requestedBefore: number): Promise<number> {
  const [row] = await session.query(
    `with ripe as materialized (
       select r.retention_request_id, r.tenant_id, r.segment from starcite.retention_requests r
        where r.segment is not null and r.requested_seconds <= $1
        order by r.retention_request_id limit $2
     ), asked as (
       insert into starcite.erasures (kind, tenant_id, segment, subject, reason)
       select 'segment', d.tenant_id, d.segment, 'retention', format('the segment ended at %s', starcite.wire_time(d.ended_at))
         from ripe r
         join starcite.segments_due() d on d.tenant_id = r.tenant_id and d.segment = r.segment
           on conflict do nothing
       returning erasure_id
     ), forgotten as (
       delete from starcite.retention_requests r using ripe p where r.retention_request_id = p.retention_request_id
     )
     select count(*) from asked`,
    [requestedBefore, SEGMENTS_PER_PASS],
  )
  return Number(row?.[0] ?? 0)
}

export interface RetentionStatus {
  /** What will be erased once its grace is over. */
  readonly requests: number
  readonly clockTrusted: boolean
}

export async function retentionStatus(session: DbSession): Promise<RetentionStatus> {
  const [row] = await session.query(
    `select (select count(*) from starcite.retention_requests), c.ahead is null from starcite.retention_clock c`,
  )
  return { requests: Number(row?.[0] ?? 0), clockTrusted: row?.[1] !== 'f' }
}
