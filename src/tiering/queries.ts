import pg from 'pg'
import { decodeEvent, EVENT_BYTES, EVENT_COLUMNS } from '../db/eventRows.ts'
import { classify, type Db } from '../db/pool.ts'
import type { DbSession } from '../db/session.ts'
import { jittered, pause } from '../lib/backoff.ts'
import type { Owner, PackedObject } from './packer.ts'
import type { ArchivedEvent } from './slice.ts'

const SET = {
  name: 'set_setting',
  text: `insert into starcite.settings as s (name, value) values ($1, $2)
         on conflict (name) do update set value = excluded.value where s.value <> excluded.value`,
}

/** What procedures and views need to know: how wide segments are, and how long they stay. */
export async function writeSettings(db: Db, intervalMs: number, retentionMs: number): Promise<void> {
  await db.query(SET, ['segment_interval', `${intervalMs / 1000} seconds`])
  await db.query(SET, ['hot_retention', `${retentionMs / 1000} seconds`])
}

const ENSURE_SEGMENTS = {
  name: 'ensure_segments',
  text: `select starcite.ensure_segment(t.at), starcite.ensure_segment(t.at + t.width)
           from (select greatest(clock_timestamp(), (select s.value::timestamptz from starcite.settings s
                                                      where s.name = 'closed_before')) as at,
                        (select s.value::interval from starcite.settings s where s.name = 'segment_interval') as width) t`,
}

/** Makes sure of this segment and the next, by the database's clock. */
export async function ensureSegments(db: Db): Promise<void> {
  await db.query(ENSURE_SEGMENTS, [])
}

// --- The job. All of it on the one connection that holds the job's lock: who loses the lock can write no more.

/** A role's own time-outs are meant for short statements, and for connections that somebody forgot. */
export async function prepareJob(session: DbSession): Promise<void> {
  await session.query(`set statement_timeout = '30min'`)
  await session.query('set idle_session_timeout = 0')
}

/** Held until it is given back, or the connection ends. */
export async function tryLockJob(session: DbSession): Promise<boolean> {
  const [row] = await session.query(`select pg_try_advisory_lock(hashtextextended('starcite.tiering', 0))`)
  return row?.[0] === 't'
}

export async function unlockJob(session: DbSession): Promise<void> {
  await session.query(`select pg_advisory_unlock(hashtextextended('starcite.tiering', 0))`)
}

export interface TieringStatus {
  /** Events of due segments that are not yet moved, as Postgres estimates them. */
  readonly pendingEvents: number
  /** Since the oldest of those segments was due. */
  readonly lagSeconds: number
}

export async function tieringStatus(session: DbSession): Promise<TieringStatus> {
  const [row] = await session.query(
    'select t.pending_events, extract(epoch from t.lag) from starcite.tiering_status t',
  )
  return { pendingEvents: Number(row?.[0] ?? 0), lagSeconds: Number(row?.[1] ?? 0) }
}

export interface Segment {
  readonly name: string
  readonly state: 'hot' | 'closed' | 'moved'
}

/** Segments that are under way, and those whose retention is over by the database's clock; oldest first. */
export async function dueSegments(session: DbSession): Promise<Segment[]> {
  const rows = await session.query(
    `select g.name, g.state from starcite.segments g
      where g.state in ('closed', 'moved')
         or (g.state = 'hot' and g.to_at <= clock_timestamp() - (select s.value::interval from starcite.settings s
                                                                  where s.name = 'hot_retention'))
      order by g.from_at`,
  )
  return rows.map(([name, state]) => ({ name: name as string, state: state as Segment['state'] }))
}

const table = (segment: string) => `starcite.${pg.escapeIdentifier(segment)}`

/** Whoever waits for a table makes everyone after it wait: so not for long, and again a little later. */
const LOCK_TIMEOUT = '50ms'
const LOCK_ATTEMPTS = 20
const LOCK_PAUSE_MS = 500

/** A transaction that locks a segment. Rejects when others hold it all the time: some long query, or a vacuum. */
async function lockingSegment(session: DbSession, run: () => Promise<void>): Promise<void> {
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

/**
 * No event gets in any more: times handed out from now on are past its end, and should a transaction still carry an
 * older idea of the time, Postgres itself refuses the row (the append is tried again and gets a later time).
 */
export async function closeSegment(session: DbSession, segment: string): Promise<void> {
  await lockingSegment(session, async () => {
    await session.query(
      `alter table ${table(segment)} add constraint segment_is_closed check (false) not valid`,
    )
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

/** One session's stretch of the segment that is still to be copied. */
export interface Run extends Owner {
  readonly firstSeq: number
  readonly lastSeq: number
  readonly bytes: number
}

/** Where the copying got to: nothing of the segment up to here needs to be copied again. */
export interface Progress {
  readonly tenantId: string
  readonly sid: string
  readonly lastSeq: number
}

export async function progressOf(session: DbSession, segment: string): Promise<Progress | undefined> {
  const [row] = await session.query(
    `select o.tenant_id, s.sid, s.last_seq
       from starcite.objects o join starcite.slices s on s.object_id = o.object_id
      where o.object_id = (select max(o.object_id) from starcite.objects o where o.segment = $1)
      order by s.byte_offset desc limit 1`,
    [segment],
  )
  return row && { tenantId: row[0] as string, sid: row[1] as string, lastSeq: Number(row[2]) }
}

/** Opens the plan of what is to be copied, in the order of packing. It lives on the server: fetch a part at a time. */
export async function openRuns(
  session: DbSession,
  segment: string,
  from: Progress | undefined,
): Promise<void> {
  const rest = from
    ? `where (s.tenant_id, e.sid) >= ($1, $2::bigint) and not (s.tenant_id = $1 and e.sid = $2::bigint and e.seq <= $3)`
    : ''
  await session.query('close all')
  const values = from ? [from.tenantId, from.sid, from.lastSeq] : []
  const literals = rest.replace(/\$(\d)/g, (_, n) => pg.escapeLiteral(String(values[Number(n) - 1])))
  await session.query(
    `declare runs cursor with hold for
      select s.tenant_id, e.sid, s.id, min(e.seq), max(e.seq), sum(${EVENT_BYTES})
        from ${table(segment)} e join starcite.sessions s on s.sid = e.sid ${literals}
       group by s.tenant_id, e.sid, s.id
       order by s.tenant_id, e.sid`,
  )
}

export async function fetchRuns(session: DbSession, count: number): Promise<Run[]> {
  const rows = await session.query(`fetch ${count} from runs`)
  return rows.map(([tenantId, sid, sessionId, firstSeq, lastSeq, bytes]) => ({
    tenantId: tenantId as string,
    sid: sid as string,
    sessionId: sessionId as string,
    firstSeq: Number(firstSeq),
    lastSeq: Number(lastSeq),
    bytes: Number(bytes),
  }))
}

export async function closeRuns(session: DbSession): Promise<void> {
  await session.query('close runs')
}

export interface RunEvent {
  readonly run: Run
  readonly event: ArchivedEvent
}

/** The events of some runs, in their order, until they weigh `bytes`; at least one. */
export async function readRuns(
  session: DbSession,
  segment: string,
  runs: readonly Run[],
  bytes: number,
): Promise<RunEvent[]> {
  const rows = await session.query(
    `select e.o, encode(e.content_digest || e.hash || coalesce(e.salt, ''), 'hex'), ${EVENT_COLUMNS}
       from (select w.o, e.*, sum(${EVENT_BYTES}) over (order by w.o, e.seq rows unbounded preceding) - (${EVENT_BYTES}) as bytes_before
               from unnest($1::bigint[], $2::bigint[], $3::bigint[]) with ordinality as w (sid, first_seq, last_seq, o)
              cross join lateral (select * from ${table(segment)} e
                                   where e.sid = w.sid and e.seq between w.first_seq and w.last_seq order by e.seq) e) e
      where e.bytes_before < $4
      order by e.o, e.seq`,
    [runs.map((run) => run.sid), runs.map((run) => run.firstSeq), runs.map((run) => run.lastSeq), bytes],
  )
  return rows.map((row) => {
    const hashes = row[1] as string
    return {
      run: runs[Number(row[0]) - 1] as Run,
      event: {
        contentDigest: hashes.slice(0, 64),
        hash: hashes.slice(64, 128),
        salt: hashes.slice(128) || null,
        frame: decodeEvent(row, 2),
      },
    }
  })
}

/** Notes an object that lies in the store, read back and compared. Readers do not see it before the segment is moved. */
export async function recordObject(
  session: DbSession,
  segment: string,
  key: string,
  object: PackedObject,
): Promise<void> {
  const { slices } = object
  await session.query(
    `with o as (
       insert into starcite.objects (key, tenant_id, segment, bytes, sha256, events)
       values ($1, $2, $3, $4, decode($5, 'hex'), $6) returning object_id
     )
     insert into starcite.slices (sid, first_seq, last_seq, object_id, byte_offset, bytes, sha256)
     select w.sid, w.first_seq, w.last_seq, o.object_id, w.byte_offset, w.bytes, decode(w.sha256, 'hex')
       from o, unnest($7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::int[], $12::text[])
               as w (sid, first_seq, last_seq, byte_offset, bytes, sha256)`,
    [
      key,
      object.tenantId,
      segment,
      object.body.length,
      object.sha256.toString('hex'),
      object.events,
      slices.map((it) => it.sid),
      slices.map((it) => it.firstSeq),
      slices.map((it) => it.lastSeq),
      slices.map((it) => it.offset),
      slices.map((it) => it.bytes),
      slices.map((it) => it.sha256.toString('hex')),
    ],
  )
}

/** Events in the segment's partition, and in its recorded objects. */
export async function countEvents(
  session: DbSession,
  segment: string,
): Promise<{ hot: number; copied: number }> {
  const [row] = await session.query(
    `select (select count(*) from ${table(segment)}),
            (select coalesce(sum(o.events), 0) from starcite.objects o where o.segment = $1)`,
    [segment],
  )
  return { hot: Number(row?.[0]), copied: Number(row?.[1]) }
}

/** The instant of the move: readers find the events in the objects, and the partition is empty. */
export async function switchSegment(session: DbSession, segment: string, events: number): Promise<void> {
  await lockingSegment(session, async () => {
    await session.query(`truncate ${table(segment)}`)
    await session.query(
      `update starcite.segments g set state = 'moved', moved_at = clock_timestamp(), events = $2 where g.name = $1`,
      [segment, events],
    )
  })
}

/** Whether the partition is attached, is being detached (a detach was interrupted), stands apart, or is gone. */
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
 * Takes the empty partition off; `finalize` goes on with a detach that was interrupted. Detaching waits, without a lock
 * on the parent, for transactions that have used it; finalizing waits with one that only the making of segments meets.
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

export async function dropSegment(session: DbSession, segment: string): Promise<void> {
  await lockingSegment(session, async () => {
    await session.query(`drop table if exists ${table(segment)}`)
    await session.query(
      `update starcite.segments g set state = 'dropped', dropped_at = clock_timestamp() where g.name = $1`,
      [segment],
    )
  })
}

// --- Reading

/** Where a run of one session's events lies. */
export interface Slice {
  readonly key: string
  readonly firstSeq: number
  readonly lastSeq: number
  readonly offset: number
  readonly bytes: number
  readonly sha256: string
}

const FIND_SLICE = {
  name: 'find_slice',
  // Slices of a session do not overlap, so only the last one that begins in time can hold the event.
  text: `select o.key, s.first_seq, s.last_seq, s.byte_offset, s.bytes, encode(s.sha256, 'hex')
           from (select * from starcite.slices s where s.sid = $1 and s.first_seq <= $2
                  order by s.first_seq desc limit 1) s
           join starcite.objects o on o.object_id = s.object_id
           join starcite.segments g on g.name = o.segment and g.state in ('moved', 'dropped')
          where s.last_seq >= $2`,
}

/** The slice that holds an event; undefined when it is not cold. */
export async function findSlice(db: Db, sid: string, seq: number): Promise<Slice | undefined> {
  const [row] = await db.query(FIND_SLICE, [sid, seq])
  if (row === undefined) return undefined
  const [key, firstSeq, lastSeq, offset, bytes, sha256] = row
  return {
    key: key as string,
    firstSeq: Number(firstSeq),
    lastSeq: Number(lastSeq),
    offset: Number(offset),
    bytes: Number(bytes),
    sha256: sha256 as string,
  }
}

const COLD_UNTIL = {
  name: 'cold_until',
  text: `select s.last_seq
           from starcite.slices s
           join starcite.objects o on o.object_id = s.object_id
           join starcite.segments g on g.name = o.segment and g.state in ('moved', 'dropped')
          where s.sid = $1
          order by s.first_seq desc limit 1`,
}

/** The last seq of a session's cold part, which is always a prefix of its log; 0 when all of it is hot. */
export async function coldUntil(db: Db, sid: string): Promise<number> {
  const [row] = await db.query(COLD_UNTIL, [sid])
  return Number(row?.[0] ?? 0)
}
