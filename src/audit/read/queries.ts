import { archiveLine } from '../../archive/line.ts'
import {
  CHAIN_COLUMN_COUNT,
  CHAIN_COLUMNS,
  decodeChain,
  decodeEvent,
  EVENT_BYTES,
  EVENT_COLUMNS,
} from '../../db/eventRows.ts'
import type { Db } from '../../db/pool.ts'
import type { ColdSlice, Scope, SessionHead } from './scope.ts'

type Row = readonly (string | null)[]

const NEXT_TENANT = {
  name: 'audit_next_tenant',
  text: 'select s.tenant_id from starcite.sessions s where s.tenant_id > $1 order by s.tenant_id limit 1',
}

/** The tenant after this one, in bytewise order; undefined after the last. The first tenant follows ''. */
export async function nextTenant(db: Db, after: string): Promise<string | undefined> {
  const [row] = await db.query(NEXT_TENANT, [after])
  return row?.[0] ?? undefined
}

/** 'storage': the order in which objects are packed, so that each is read once. 'id': bytewise by the session's id. */
export type Order = 'storage' | 'id'

const COLD = `starcite.slices s
           join starcite.objects o on o.object_id = s.object_id
           join starcite.segments g on g.name = o.segment and g.state in ('moved', 'dropped')`

/**
 * Whether readers find the events of a slice `s` in its object. It is a scalar subquery, so that Postgres walks one
 * session's slices by their key and evaluates it for each, regardless of its statistics: right after a move they know
 * nothing of the slices.
 */
const IS_COLD = `(select g.state in ('moved', 'dropped') from starcite.objects o
                           join starcite.segments g on g.name = o.segment where o.object_id = s.object_id)`
const SEGMENT = (column: string) => `(select g.${column} from starcite.objects o
                           join starcite.segments g on g.name = o.segment where o.object_id = s.object_id)`

/** The last seq of a session that is in objects, as `cold_until`. */
export const coldUntilOf = (sid: string) => `
  (select coalesce((select s.last_seq from starcite.slices s where s.sid = ${sid} and ${IS_COLD}
                     order by s.first_seq desc limit 1), 0) as cold_until)`

/**
 * The range of a session that is read for a scope with times. Times never run backwards in a session, so it is one
 * contiguous range. It begins with the first slice that may reach into the time, or after the last event before it,
 * or with the hot part; it ends before the first event, or the first slice, after the time. The range may be too
 * wide, and is never too narrow.
 */
const WITH_TIMES = `
  coalesce((select s.first_seq from starcite.slices s
             where s.sid = h.sid and ${IS_COLD} and ${SEGMENT('to_at')} > $5 order by s.first_seq limit 1),
           (select max(e.seq) + 1 from starcite.events e where e.sid = h.sid and e.inserted_at < $5),
           c.cold_until + 1),
  least(h.last_seq,
        (select s.first_seq - 1 from starcite.slices s
          where s.sid = h.sid and ${IS_COLD} and ${SEGMENT('from_at')} >= $6 order by s.first_seq limit 1),
        (select min(e.seq) - 1 from starcite.events e where e.sid = h.sid and e.inserted_at >= $6))`

const sessionsQuery = (order: Order, isOne: boolean, hasTimes: boolean) => {
  const key = order === 'id' ? 'n.id' : 'n.sid'
  return {
    name: `audit_session${isOne ? '' : `s_${order}`}${hasTimes ? '_timed' : ''}`,
    text: `select n.sid, n.id, coalesce(h.last_seq, 0), encode(h.chain_hash, 'hex'), encode(x.chain_hash, 'hex'), c.cold_until,
                  ${hasTimes ? WITH_TIMES : '1, coalesce(h.last_seq, 0)'}
             from (select * from starcite.sessions n
                    where n.tenant_id = $1 and ${isOne ? 'n.id = $2' : '$2::text is null'} and ${key} > $3
                    order by ${key} limit $4) n
             left join starcite.session_heads h on h.sid = n.sid
             left join starcite.erasures x on x.sid = n.sid and x.kind = 'session'
            cross join lateral ${coldUntilOf('n.sid')} c
            order by ${key}`,
  }
}

/** The keys before every session. */
const FIRST: Readonly<Record<Order, string>> = { id: '', storage: '0' }
/** The bounds of a scope that is open at an end. */
const EVER = ['-infinity', 'infinity'] as const

/** The next sessions of a tenant after `after`, an id or a sid by the order, also those without events in the time. */
export async function readSessions(
  db: Db,
  tenant: string,
  { session, from, to }: Scope,
  order: Order,
  after: string | undefined,
  limit: number,
): Promise<SessionHead[]> {
  const hasTimes = from !== undefined || to !== undefined
  const rows = await db.query(sessionsQuery(order, session !== undefined, hasTimes), [
    tenant,
    session ?? null,
    after ?? FIRST[order],
    limit,
    ...(hasTimes ? [from ?? EVER[0], to ?? EVER[1]] : []),
  ])
  return rows.map(([sid, id, lastSeq, headHash, erasedHash, coldUntil, fromSeq, toSeq]) => ({
    sid: sid as string,
    tenant,
    session: id as string,
    lastSeq: Number(lastSeq),
    headHash: headHash ?? null,
    erasedHash: erasedHash ?? null,
    coldUntil: Number(coldUntil),
    fromSeq: Number(fromSeq),
    toSeq: Number(toSeq),
  }))
}

const SLICE_COLUMNS = `s.first_seq, s.last_seq, s.byte_offset, s.bytes, encode(s.sha256, 'hex'),
       o.object_id, o.key, o.bytes, encode(o.sha256, 'hex'), o.segment,
       (select json_agg(json_build_array(e.first_seq, e.last_seq)) from starcite.erasures e
         where e.sid = s.sid and e.state = 'pending' and e.first_seq <= s.last_seq and e.last_seq >= s.first_seq)`

function decodeSlice(row: Row, from: number): ColdSlice {
  const number = (i: number) => Number(row[from + i])
  const text = (i: number) => row[from + i] as string
  return {
    firstSeq: number(0),
    lastSeq: number(1),
    offset: number(2),
    bytes: number(3),
    sha256: text(4),
    object: { id: text(5), key: text(6), bytes: number(7), sha256: text(8), segment: text(9) },
    hidden: JSON.parse(row[from + 10] ?? '[]') as [number, number][],
  }
}

const SLICES = {
  name: 'audit_slices',
  text: `select w.o, ${SLICE_COLUMNS}
           from unnest($1::bigint[], $2::bigint[], $3::bigint[]) with ordinality as w (sid, first_seq, last_seq, o)
           join ${COLD} on s.sid = w.sid and s.last_seq >= w.first_seq and s.first_seq <= w.last_seq
          where w.o > $4 or (w.o = $4 and s.first_seq > $5)
          order by w.o, s.first_seq
          limit $6`,
}

/** A slice, with the index of its session among those requested, from 0. */
export interface IndexedSlice {
  readonly index: number
  readonly slice: ColdSlice
}

/** The next slices of the ranges of these sessions, in order, after a given slice. */
export async function readSlices(
  db: Db,
  sessions: readonly SessionHead[],
  after: IndexedSlice | undefined,
  limit: number,
): Promise<IndexedSlice[]> {
  const rows = await db.query(SLICES, [
    sessions.map((it) => it.sid),
    sessions.map((it) => it.fromSeq),
    sessions.map((it) => it.toSeq),
    (after?.index ?? -1) + 1,
    after?.slice.firstSeq ?? 0,
    limit,
  ])
  return rows.map((row) => ({ index: Number(row[0]) - 1, slice: decodeSlice(row, 1) }))
}

const SLICE_AT = {
  name: 'audit_slice_at',
  text: `select ${SLICE_COLUMNS} from ${COLD}
          where s.sid = $1 and s.first_seq <= $2 and s.last_seq >= $2 order by s.first_seq desc limit 1`,
}

/** The slice that holds an event now; undefined when none does. */
export async function sliceAt(db: Db, sid: string, seq: number): Promise<ColdSlice | undefined> {
  const [row] = await db.query(SLICE_AT, [sid, seq])
  return row && decodeSlice(row, 0)
}

/** A range of a session that is read from Postgres. */
export interface HotRun {
  readonly index: number
  readonly head: SessionHead
  readonly firstSeq: number
  readonly lastSeq: number
}

export interface HotEvent {
  readonly run: HotRun
  readonly seq: number
  /** The event as an archived line, with its line feed. */
  readonly line: string
}

const HOT = {
  name: 'audit_hot',
  text: `select e.o, ${CHAIN_COLUMNS}, ${EVENT_COLUMNS}
           from (select w.o, e.*, sum(${EVENT_BYTES}) over (order by w.o, e.seq
                                                            groups between unbounded preceding and 1 preceding) as bytes_before
                   from unnest($1::bigint[], $2::bigint[], $3::bigint[]) with ordinality as w (sid, first_seq, last_seq, o)
                  cross join lateral (select * from starcite.events e
                                       where e.sid = w.sid and e.seq between w.first_seq and w.last_seq order by e.seq) e) e
          where coalesce(e.bytes_before, 0) < $4
          order by e.o, e.seq`,
}

/**
 * The events that Postgres has of these runs, in order, until they weigh `bytes`; at least one event, if there is
 * any. An event that exists twice comes twice, at any size, because reading continues after its seq.
 */
export async function readHot(db: Db, runs: readonly HotRun[], bytes: number): Promise<HotEvent[]> {
  const rows = await db.query(HOT, [
    runs.map((it) => it.head.sid),
    runs.map((it) => it.firstSeq),
    runs.map((it) => it.lastSeq),
    bytes,
  ])
  return rows.map((row) => {
    const run = runs[Number(row[0]) - 1] as HotRun
    const rendered = decodeEvent(row, 1 + CHAIN_COLUMN_COUNT)
    const line = archiveLine(run.head.session, { ...decodeChain(row, 1), rendered })
    return { run, seq: rendered.seq, line }
  })
}

const EVENTS_OF_SCOPE = {
  name: 'audit_events_of_scope',
  text: `select coalesce(sum(h.last_seq), 0), count(*)
           from starcite.sessions n join starcite.session_heads h on h.sid = n.sid
          where ($1::text is null or n.tenant_id = $1) and ($2::text is null or n.id = $2)`,
}

/** The number of events and sessions in a scope, regardless of its times. */
export async function countScope(
  db: Db,
  { tenant, session }: Scope,
): Promise<{ events: number; sessions: number }> {
  const [row] = await db.query(EVENTS_OF_SCOPE, [tenant ?? null, session ?? null])
  return { events: Number(row?.[0]), sessions: Number(row?.[1]) }
}
