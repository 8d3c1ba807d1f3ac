import pg from 'pg'
import { classify } from '../db/failure.ts'
import type { Db } from '../db/pool.ts'
import type { DbSession } from '../db/session.ts'
import { jittered, pause } from '../lib/backoff.ts'

const CONFIGURE = { name: 'configure', text: 'select starcite.configure($1::interval, $2::interval)' }

/** Writes the settings that procedures and views read: the width of segments, and how long they stay hot. */
export async function writeSettings(db: Db, intervalMs: number, retentionMs: number): Promise<void> {
  await db.query(CONFIGURE, [`${intervalMs / 1000} seconds`, `${retentionMs / 1000} seconds`])
}

const ENSURE_SEGMENTS = {
  name: 'ensure_segments',
  text: `select starcite.ensure_segment(t.at), starcite.ensure_segment(t.at + t.width)
           from (select greatest(clock_timestamp(), (select s.value::timestamptz from starcite.settings s
                                                      where s.name = 'closed_before')) as at,
                        (select s.value::interval from starcite.settings s where s.name = 'segment_interval') as width) t
          union all
         select starcite.ensure_segment(g.from_at), null from starcite.segments g where g.state = 'hot'`,
}

const CLOCK = { name: 'clock', text: 'select extract(epoch from clock_timestamp()) * 1000' }

/** The database's clock, in milliseconds since the epoch. */
export async function readClock(db: Db): Promise<number> {
  const [row] = await db.query(CLOCK, [])
  return Number(row?.[0])
}

/** Creates this segment and the next, by the database's clock, and the missing partition of each hot segment. */
export async function ensureSegments(db: Db): Promise<void> {
  await db.query(ENSURE_SEGMENTS, [])
}

// --- The tiering job (src/db/job.ts). All of these run on the one connection that holds the job's lock, so a job
// that lost the lock writes nothing more.

/**
 * The version of docs/archive-format.md that this build writes. Postgres refuses objects of jobs that state another
 * one, or none.
 */
const ARCHIVE_FORMAT = '2'

export async function stateArchiveFormat(session: DbSession): Promise<void> {
  await session.query(`select set_config('starcite.archive_format', $1, false)`, [ARCHIVE_FORMAT])
}

export interface TieringStatus {
  /** Events of due segments that are not moved yet, as Postgres estimates them. */
  readonly pendingEvents: number
  /** Since the oldest of those segments was due. */
  readonly lagSeconds: number
  /** Sessions that are not moved because their log is damaged. */
  readonly setAside: number
}

export async function tieringStatus(session: DbSession): Promise<TieringStatus> {
  const [row] = await session.query(
    'select t.pending_events, extract(epoch from t.lag), t.set_aside_sessions from starcite.tiering_status t',
  )
  return {
    pendingEvents: Number(row?.[0] ?? 0),
    lagSeconds: Number(row?.[1] ?? 0),
    setAside: Number(row?.[2] ?? 0),
  }
}

export interface Segment {
  readonly name: string
  readonly state: 'hot' | 'closed' | 'moved'
}

/**
 * The confirmed time (starcite.confirm_time), and by how many seconds the database's clock is past it; 0 where that
 * does not matter.
 */
export async function confirmTime(session: DbSession): Promise<{ confirmed: string; behindSeconds: number }> {
  const [row] = await session.query(
    `select c.at, case when isfinite(c.at) then extract(epoch from clock_timestamp() - c.at) else 0 end
       from starcite.confirm_time() as c (at)`,
  )
  return { confirmed: row?.[0] as string, behindSeconds: Number(row?.[1]) }
}

/** Segments that are in progress, and those whose retention is over and whose end is confirmed; oldest first. */
export async function dueSegments(session: DbSession, confirmed: string): Promise<Segment[]> {
  const rows = await session.query(
    `select g.name, g.state from starcite.segments g
      where g.state in ('closed', 'moved')
         or (g.state = 'hot' and g.to_at <= clock_timestamp() - (select s.value::interval from starcite.settings s
                                                                  where s.name = 'hot_retention')
             and g.to_at <= $1::timestamptz)
      order by g.from_at`,
    [confirmed],
  )
  return rows.map(([name, state]) => ({ name: name as string, state: state as Segment['state'] }))
}

/** The partition of a segment, for use in a statement. */
export const table = (segment: string) => `starcite.${pg.escapeIdentifier(segment)}`

/**
 * A request that waits for a table lock makes every later one wait, so it gives up soon and tries again a little
 * later.
 */
const LOCK_TIMEOUT = '50ms'
const LOCK_ATTEMPTS = 20
const LOCK_PAUSE_MS = 500

/**
 * Runs a transaction that locks a segment. Rejects when others hold the segment all the time, such as a long query or
 * a vacuum.
 */
export async function lockingSegment(session: DbSession, run: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt += 1)
    try {
      return await session.transaction(async () => {
        await session.query(`set local lock_timeout = '${LOCK_TIMEOUT}'`)
        await run()
      })
    } catch (error) {
      if (classify(error) !== 'locked' || attempt === LOCK_ATTEMPTS) throw error
      await pause(jittered(0, LOCK_PAUSE_MS, LOCK_PAUSE_MS))
    }
}

/** New events have a salt, and an erased event has none. So a closed segment accepts erasures and nothing else. */
const CLOSED = 'check (salt is null)'

/** Replaces the constraint of segments that were closed by a release without erasure, which lets no update pass. */
export async function letErasuresPass(session: DbSession): Promise<void> {
  const rows = await session.query(
    `select g.name from starcite.segments g
       join pg_catalog.pg_constraint c on c.conrelid = to_regclass(format('starcite.%I', g.name))
      where g.state = 'closed' and c.conname = 'segment_is_closed' and pg_get_constraintdef(c.oid) like '%(false)%'`,
  )
  for (const [name] of rows)
    await lockingSegment(session, async () => {
      await session.query(
        `alter table ${table(name as string)} drop constraint segment_is_closed,
           add constraint segment_is_closed ${CLOSED} not valid`,
      )
    })
}

/**
 * Closes a segment for new events. Times that are handed out from now on are past its end; when a transaction still
 * has an earlier time, Postgres refuses the row, and the append is retried with a later time.
 */
export async function closeSegment(session: DbSession, segment: string): Promise<void> {
  await lockingSegment(session, async () => {
    await session.query(`alter table ${table(segment)} add constraint segment_is_closed ${CLOSED} not valid`)
    await session.query(
      `update starcite.settings s set value = starcite.wire_time(greatest(s.value::timestamptz, g.to_at))
         from starcite.segments g where s.name = 'closed_before' and g.name = $1`,
      [segment],
    )
    await session.query(
      `update starcite.segments g set state = 'closed', closed_at = clock_timestamp() where g.name = $1`,
      [segment],
    )
  })
}

/** Switches readers to the objects, and empties the partition, in one transaction. */
export async function switchSegment(session: DbSession, segment: string, events: number): Promise<void> {
  await lockingSegment(session, async () => {
    await session.query(`truncate ${table(segment)}`)
    await session.query(
      `update starcite.segments g set state = 'moved', moved_at = clock_timestamp(), events = $2 where g.name = $1`,
      [segment, events],
    )
  })
}

/** Whether the partition is attached, is being detached (a detach was interrupted), is detached, or does not exist. */
export async function attachment(
  session: DbSession,
  segment: string,
): Promise<'attached' | 'pending' | 'apart' | 'gone'> {
  const [row] = await session.query(
    `select i.inhdetachpending from pg_catalog.pg_class c
       left join pg_catalog.pg_inherits i on i.inhrelid = c.oid
      where c.relname = $1 and c.relnamespace = 'starcite'::regnamespace`,
    [segment],
  )
  if (row === undefined) return 'gone'
  if (row[0] === null) return 'apart'
  return row[0] === 't' ? 'pending' : 'attached'
}

/**
 * Detaches the empty partition; `finalize` completes a detach that was interrupted. Detaching waits, without a lock
 * on the parent, for transactions that have used the partition; finalizing takes a lock that conflicts only with
 * creating segments.
 */
export async function detachSegment(session: DbSession, segment: string, finalize: boolean): Promise<void> {
  await session.query(`set lock_timeout = '${finalize ? '1s' : '5s'}'`)
  try {
    await session.query(
      `alter table starcite.events detach partition ${table(segment)} ${finalize ? 'finalize' : 'concurrently'}`,
    )
  } finally {
    await session.query('reset lock_timeout').catch(() => {})
  }
}

/** Creates the partition of a segment again that was dropped or detached before its events were moved. */
export async function restorePartition(session: DbSession, segment: string): Promise<void> {
  await session.query('select starcite.restore_partition($1)', [segment])
}

/** Drops an empty partition. Rejects when it has events, which would be lost. */
export async function dropSegment(session: DbSession, segment: string): Promise<void> {
  await lockingSegment(session, async () => {
    if ((await attachment(session, segment)) !== 'gone') {
      const [row] = await session.query(`select exists (select from ${table(segment)})`)
      if (row?.[0] === 't')
        throw new Error(
          `the partition of segment ${segment} has events and cannot be dropped; move or delete them first`,
        )
    }
    await session.query(`drop table if exists ${table(segment)}`)
    await session.query(
      `update starcite.segments g set state = 'dropped', dropped_at = clock_timestamp(), kept_events = null where g.name = $1`,
      [segment],
    )
  })
}
