import { microsecondsOf } from '../db/eventRows.ts'
import type { Db } from '../db/pool.ts'
import type { Cursor } from './cursor.ts'
import type { Entry } from './entry.ts'

const PLACE_CHANGES = {
  name: 'place_changes',
  notifies: true as const,
  text: `select array_to_json(p.feeds), array_to_json(p.waiting::text[]), p.is_more
           from starcite.place_changes($1::bigint[]) p`,
}

export interface Sequenced {
  /** Keys of the feeds that have grown. */
  readonly feeds: readonly string[]
  /** The sessions of the call that have to be passed again. */
  readonly waiting: readonly string[]
  readonly isMore: boolean
}

/** Gives committed changes their places in the feeds; see sql/place_changes.sql. */
export async function sequenceChanges(db: Db, sids: readonly string[]): Promise<Sequenced> {
  const [row] = await db.query(PLACE_CHANGES, [sids])
  const [feeds, waiting, isMore] = row as readonly string[]
  return {
    feeds: JSON.parse(feeds as string) as string[],
    waiting: JSON.parse(waiting as string) as string[],
    isMore: isMore === 't',
  }
}

const UNSEQUENCED = {
  name: 'unsequenced_sessions',
  text: `select max(h.sid), coalesce(json_agg(h.sid::text) filter (where h.last_seq > coalesce(p.last_seq, 0) and not h.erased), '[]')
           from (select h.sid, h.last_seq, h.erased from starcite.session_heads h
                  where h.sid > $1 order by h.sid limit $2) h
           left join starcite.session_progress p on p.sid = h.sid`,
}

export interface Unsequenced {
  readonly sids: readonly string[]
  /** The last sid of this step; undefined at the end of the search. */
  readonly last: string | undefined
}

/** The sessions among the next `limit` after a sid whose newest events are not in a feed yet. */
export async function findUnsequenced(db: Db, after: string, limit: number): Promise<Unsequenced> {
  const [[last, sids] = []] = await db.query(UNSEQUENCED, [after, limit])
  return { last: last ?? undefined, sids: JSON.parse(sids ?? '[]') as string[] }
}

const HEADS = {
  name: 'lifecycle_heads',
  text: 'select l.tenant_id, l.place, l.number from starcite.lifecycle_heads l where l.tenant_id = any ($1::text[])',
}

/** The ends of the tenants' feeds. A tenant without a session has no feed. */
export async function readFeedHeads(db: Db, tenantIds: readonly string[]): Promise<Map<string, Cursor>> {
  const rows = await db.query(HEADS, [tenantIds])
  return new Map(
    rows.map(([tenantId, place, number]) => [
      tenantId as string,
      { place: Number(place), number: Number(number) },
    ]),
  )
}

const STATE = {
  name: 'lifecycle_state',
  text: `select l.place, l.number, pg_is_in_recovery(),
                coalesce((select ${microsecondsOf('c.at')} from starcite.session_changes c
                           where c.tenant_id = $1 and c.place = w.place),
                         (select ${microsecondsOf('c.at')} from starcite.session_changes c
                           where c.tenant_id = $1 and c.place = w.place + 1 and c.kind = 'created'),
                         (select ${microsecondsOf('p.placed_at')} from starcite.session_progress p
                           where p.tenant_id = $1 and p.place = w.place)),
                (select ${microsecondsOf('c.at')} from starcite.session_changes c
                  where c.tenant_id = $1 and c.place < w.place order by c.place desc limit 1),
                (select ${microsecondsOf('p.placed_at')} from starcite.session_progress p
                  where p.tenant_id = $1 and p.place < w.place order by p.place desc limit 1)
           from (select) x left join starcite.lifecycle_heads l on l.tenant_id = $1
          cross join lateral (select coalesce($2::bigint, l.place, 0)) as w (place)`,
}

/** A feed at the place of a cursor. Times are microseconds since 1970; undefined when there is no entry. */
export interface FeedState {
  /** The end of the feed. */
  readonly head: Cursor
  /** The server is a standby, which may lag behind the primary. */
  readonly isReplica: boolean
  /** The time of the entry at that place. No other history has an entry of the same time there. */
  readonly at: number | undefined
  /** The time of the last change or the last progress before that place, the later one. */
  readonly before: number | undefined
}

/** The state of a feed at a place; at its end when `place` is undefined. */
export async function readFeedState(db: Db, tenantId: string, place: number | undefined): Promise<FeedState> {
  const [row] = await db.query(STATE, [tenantId, place ?? null])
  const number = (i: number) => (row?.[i] == null ? undefined : Number(row[i]))
  const [change, progress] = [number(4), number(5)]
  return {
    head: { place: number(0) ?? 0, number: number(1) ?? 0 },
    isReplica: row?.[2] === 't',
    at: number(3),
    before: change === undefined && progress === undefined ? undefined : Math.max(change ?? 0, progress ?? 0),
  }
}

/** The most that one read returns. It stops at either bound, but never before its first entry. */
export interface PageBounds {
  readonly entries: number
  readonly bytes: number
}

// The inner limits keep each half an index scan. `bytes` counts the entries before.
const AFTER = {
  name: 'lifecycle_after',
  text: `select e.place, e.kind, s.id, e.number, e.title, e.metadata::text, e.version, starcite.wire_time(e.at), e.last_seq,
                starcite.wire_time(e.recorded_at)
           from (select e.*, sum(coalesce(octet_length(e.metadata::text), 0))
                               over (order by e.place rows between unbounded preceding and 1 preceding) as bytes
                   from (select * from (select c.place, c.kind, c.sid, c.number, c.title, c.metadata, c.version, c.at,
                                               null::bigint as last_seq, c.at as recorded_at
                                          from starcite.session_changes c
                                         where c.tenant_id = $1 and c.place > $2 order by c.place limit $3) c
                         union all
                         select * from (select p.place, 'appended', p.sid, null::bigint, null, null::json, null::bigint,
                                               null::timestamptz, p.last_seq, p.placed_at
                                          from starcite.session_progress p
                                         where p.tenant_id = $1 and p.place > $2 order by p.place limit $3) p
                          order by place limit $3) e) e
           join starcite.sessions s on s.sid = e.sid
          where coalesce(e.bytes, 0) < $4
          order by e.place`,
}

/** The entries of a tenant's feed after a place, in order. */
export async function readEntries(
  db: Db,
  tenantId: string,
  place: number,
  bounds: PageBounds,
): Promise<Entry[]> {
  const rows = await db.query(AFTER, [tenantId, place, bounds.entries, bounds.bytes])
  return rows.map(([at, kind, id, number, title, metadata, version, time, lastSeq, recordedAt]) => ({
    place: Number(at),
    kind: kind as 'created', // or another kind: each has some of the members below
    sessionId: id as string,
    tenantId,
    number: Number(number),
    title: title ?? null,
    metadata: metadata ?? null,
    version: Number(version),
    at: time as string,
    lastSeq: Number(lastSeq),
    recordedAt: recordedAt as string,
  }))
}

const FEED_SECRET = {
  name: 'feed_secret',
  text: `select encode(starcite.secret_key('lifecycle feeds'), 'hex')`,
}

/** The secret from which the keys of feeds are made; see sql/feed_key.sql. */
export async function readFeedSecret(db: Db): Promise<Buffer> {
  const [row] = await db.query(FEED_SECRET, [])
  return Buffer.from(row?.[0] ?? '', 'hex')
}
