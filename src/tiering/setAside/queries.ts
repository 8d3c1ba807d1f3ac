import pg from 'pg'
import type { Problem } from '../../archive/problem.ts'
import type { DbSession } from '../../db/session.ts'
import { lockingSegment, table } from '../queries.ts'

// All of these run on the one connection that holds the job's lock.

/** A session that is not moved because its log is damaged, or that was given up and is to be moved as it is. */
export interface SetAside {
  readonly id: string
  readonly sid: string
  readonly seq: number
  readonly reason: string
  readonly isGivenUp: boolean
}

/** The names that log lines have of a session. */
export interface Named {
  readonly tenant: string | null
  readonly session: string | null
}

/** Records the first damage of a session that is not set aside yet. */
export async function setAside(
  session: DbSession,
  sid: string,
  { seq, reason, detail }: Problem,
): Promise<void> {
  await session.query(
    `insert into starcite.set_aside (sid, seq, reason, detail) values ($1, $2, $3, $4)
         on conflict (sid) where ended_at is null do nothing`,
    [sid, seq, reason, detail],
  )
}

/** The sessions that have gone longest without a check. */
export async function openSetAside(session: DbSession, limit: number): Promise<SetAside[]> {
  const rows = await session.query(
    `select a.set_aside_id, a.sid, a.seq, a.reason, a.given_up_at is not null
       from starcite.set_aside a where a.ended_at is null order by a.checked_at, a.set_aside_id limit $1`,
    [limit],
  )
  return rows.map(([id, sid, seq, reason, isGivenUp]) => ({
    id: id as string,
    sid: sid as string,
    seq: Number(seq),
    reason: reason as string,
    isGivenUp: isGivenUp === 't',
  }))
}

/** Records that the session was checked and is unchanged. */
export async function noteChecked(session: DbSession, { id }: SetAside): Promise<void> {
  await session.query(
    'update starcite.set_aside a set checked_at = clock_timestamp() where a.set_aside_id = $1',
    [id],
  )
}

/** Ends the set-aside of a session; with `next`, the session is set aside again for damage that follows. */
export async function endSetAside(
  session: DbSession,
  { id, sid, isGivenUp }: SetAside,
  next: Problem | undefined,
): Promise<Named> {
  return session.transaction(async () => {
    await session.query(
      `update starcite.set_aside a set checked_at = clock_timestamp(), ended_at = clock_timestamp(), outcome = $2
        where a.set_aside_id = $1`,
      [id, isGivenUp ? 'given_up' : 'mended'],
    )
    if (next !== undefined) await setAside(session, sid, next)
    return nameOf(session, sid)
  })
}

async function nameOf(session: DbSession, sid: string): Promise<Named> {
  const [row] = await session.query('select s.tenant_id, s.id from starcite.sessions s where s.sid = $1', [
    sid,
  ])
  return { tenant: row?.[0] ?? null, session: row?.[1] ?? null }
}

/**
 * Whether a copy of event `e` of this segment is recorded. One lookup for each event, however many slices there are.
 */
const IS_COPIED = (segment: string) => `
  coalesce((select s.last_seq >= e.seq and o.segment = ${pg.escapeLiteral(segment)}
              from starcite.slices s join starcite.objects o on o.object_id = s.object_id
             where s.sid = e.sid and s.first_seq <= e.seq order by s.first_seq desc limit 1), false)`

/** Whether the segment has events without a copy. */
export async function hasUncopied(session: DbSession, segment: string): Promise<boolean> {
  const [row] = await session.query(
    `select exists (select from ${table(segment)} e where not ${IS_COPIED(segment)})`,
  )
  return row?.[0] === 't'
}

/**
 * Moves a segment that keeps some of its events: readers find in objects what was copied, and in Postgres what was
 * not. Sessions of which something is kept are set aside from here on, if they are not yet. Returns how many events
 * are kept.
 */
export async function switchPartly(session: DbSession, segment: string, copied: number): Promise<number> {
  return session.transaction(async () => {
    await session.query(`set local lock_timeout = '5s'`)
    await session.query(`delete from ${table(segment)} e where ${IS_COPIED(segment)}`)
    await session.query(
      `insert into starcite.set_aside (sid, seq, reason, detail)
       select e.sid, min(e.seq), 'missing',
              case when count(s.sid) = 0 then 'there is no session of this number'
                   else 'the event is in the segment, and was not while it was copied' end
         from ${table(segment)} e left join starcite.sessions s on s.sid = e.sid
        group by e.sid
           on conflict (sid) where ended_at is null do nothing`,
    )
    const [row] = await session.query(
      `update starcite.segments g
          set state = 'dropped', moved_at = clock_timestamp(), events = $2,
              kept_events = (select count(*) from ${table(segment)})
        where g.name = $1 returning g.kept_events`,
      [segment, copied],
    )
    return Number(row?.[0])
  })
}

/** Segments whose partition stays because of the events that it keeps, oldest first. */
export async function segmentsWithRemainders(session: DbSession): Promise<string[]> {
  const rows = await session.query(
    'select g.name from starcite.segments g where g.kept_events is not null order by g.from_at',
  )
  return rows.map(([name]) => name as string)
}

/**
 * Drops the constraint of a closed segment, which lets no event in, so that an operator can repair what the segment
 * keeps.
 */
export async function letRepairsPass(session: DbSession, segment: string): Promise<void> {
  const [closed] = await session.query(
    `select from pg_catalog.pg_constraint c
      where c.conrelid = to_regclass(format('starcite.%I', $1::text)) and c.conname = 'segment_is_closed'`,
    [segment],
  )
  if (closed === undefined) return
  await lockingSegment(session, async () => {
    const [row] = await session.query(
      `select string_agg(distinct e.sid::text, ', ') from ${table(segment)} e`,
    )
    await session.query(
      `alter table ${table(segment)} drop constraint segment_is_closed,
         add constraint segment_is_kept check (salt is null or sid in (${row?.[0] ?? 'null'})) not valid`,
    )
  })
}

/** Whether a segment that keeps events has some of this session. */
export async function keepsSession(session: DbSession, segment: string, sid: string): Promise<boolean> {
  const [row] = await session.query(`select exists (select from ${table(segment)} e where e.sid = $1)`, [sid])
  return row?.[0] === 't'
}

export async function isEmpty(session: DbSession, segment: string): Promise<boolean> {
  const [row] = await session.query(`select not exists (select from ${table(segment)})`)
  return row?.[0] === 't'
}
