import pg from 'pg'
import type { ArchivedEvent } from '../../archive/line.ts'
import {
  CHAIN_COLUMN_COUNT,
  CHAIN_COLUMNS,
  decodeChain,
  decodeEvent,
  EVENT_BYTES,
  EVENT_COLUMNS,
} from '../../db/eventRows.ts'
import type { DbSession } from '../../db/session.ts'
import { table } from '../queries.ts'
import type { Owner, PackedObject } from './packer.ts'

/** The events of one session that are still to be copied from the segment. */
export interface Run extends Owner {
  readonly firstSeq: number
  readonly lastSeq: number
  readonly bytes: number
  /**
   * The last event that is in an object; `lastSeq` is 0 when there is none. `hash` is null where locationOf has to
   * find it.
   */
  readonly before: { readonly lastSeq: number; readonly hash: string | null; readonly version: number }
  /** The session's head; undefined when the session has none. */
  readonly head: { readonly lastSeq: number; readonly hash: string } | undefined
  /** Events up to this one are copied without verification (starcite.give_up_session); 0: none. */
  readonly givenUpThrough: number
}

/** The last event that is in an object. Nothing of the segment up to here needs to be copied again. */
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

/**
 * Opens a cursor over the runs that are to be copied, in the order of packing. The cursor is on the server: fetch a
 * part of it at a time.
 */
export async function openRuns(
  session: DbSession,
  segment: string,
  from: Progress | undefined,
): Promise<void> {
  const [ofRest, ofEvents] = from
    ? [
        literals('and (s.tenant_id, e.sid) >= ($1, $2::bigint)', [from.tenantId, from.sid]),
        literals('where not (e.sid = $1::bigint and e.seq <= $2::bigint)', [from.sid, from.lastSeq]),
      ]
    : ['', '']
  await session.query('close all')
  await session.query(
    `declare runs cursor with hold for ${runsOf(
      segment,
      ofEvents,
      `where not exists (select from starcite.set_aside a where a.sid = e.sid and a.ended_at is null) ${ofRest}`,
    )}`,
  )
}

/** Groups events before it joins them, because there are many more events than sessions. */
const runsOf = (segment: string, ofEvents: string, ofRuns: string) => `
  select s.tenant_id, e.sid, s.id, e.first_seq, e.last_seq, e.bytes, coalesce(c.last_seq, 0), encode(c.last_hash, 'hex'), c.last_chain_version,
         h.last_seq, encode(h.chain_hash, 'hex'),
         coalesce((select max(a.given_up_through) from starcite.set_aside a where a.sid = e.sid), 0)
    from (select e.sid, min(e.seq) as first_seq, max(e.seq) as last_seq, sum(${EVENT_BYTES}) as bytes
            from ${table(segment)} e ${ofEvents} group by e.sid) e
    join starcite.sessions s on s.sid = e.sid
    left join starcite.session_heads h on h.sid = e.sid
    left join lateral (select p.last_seq, p.last_hash, p.last_chain_version from starcite.slices p
                        where p.sid = e.sid and p.first_seq <= e.last_seq order by p.first_seq desc limit 1) c on true
   ${ofRuns}
   order by s.tenant_id, e.sid`

/**
 * The run of a session that a moved segment still has in its partition; undefined when there is none, or no such
 * session.
 */
export async function remainingRun(
  session: DbSession,
  segment: string,
  sid: string,
): Promise<Run | undefined> {
  const [row] = await session.query(runsOf(segment, 'where e.sid = $1', ''), [sid])
  return row && decodeRun(row)
}

/** Inserts values as literals, because the query of a cursor takes no parameters. */
function literals(text: string, values: readonly (string | number)[]): string {
  return text.replace(/\$(\d)/g, (_, n) => pg.escapeLiteral(String(values[Number(n) - 1])))
}

export async function fetchRuns(session: DbSession, count: number): Promise<Run[]> {
  const rows = await session.query(`fetch ${count} from runs`)
  return rows.map(decodeRun)
}

function decodeRun(row: readonly (string | null)[]): Run {
  const [tenantId, sid, sessionId, firstSeq, lastSeq, bytes, beforeSeq, beforeHash] = row
  const [beforeVersion, headSeq, headHash, givenUpThrough] = row.slice(8)
  return {
    tenantId: tenantId as string,
    sid: sid as string,
    sessionId: sessionId as string,
    firstSeq: Number(firstSeq),
    lastSeq: Number(lastSeq),
    bytes: Number(bytes),
    before: { lastSeq: Number(beforeSeq), hash: beforeHash ?? null, version: Number(beforeVersion) },
    head: headSeq == null ? undefined : { lastSeq: Number(headSeq), hash: headHash as string },
    givenUpThrough: Number(givenUpThrough),
  }
}

export interface SliceLocation {
  readonly key: string
  readonly offset: number
  readonly bytes: number
  readonly sha256: string
}

/** Locates the slice that ends with this event. The slice has the event's hash when an older release has moved it. */
export async function locationOf(
  session: DbSession,
  sid: string,
  lastSeq: number,
): Promise<SliceLocation | undefined> {
  const [row] = await session.query(
    `select o.key, s.byte_offset, s.bytes, encode(s.sha256, 'hex')
       from starcite.slices s join starcite.objects o on o.object_id = s.object_id
      where s.sid = $1 and s.last_seq = $2`,
    [sid, lastSeq],
  )
  if (row === undefined) return undefined
  const [key, offset, bytes, sha256] = row
  return { key: key as string, offset: Number(offset), bytes: Number(bytes), sha256: sha256 as string }
}

/** The ranges of a session whose content is to be erased, ordered by their first seq. */
export async function erasedRanges(session: DbSession, sid: string): Promise<[number, number][]> {
  const rows = await session.query(
    'select e.first_seq, e.last_seq from starcite.erasures e where e.sid = $1 order by e.first_seq',
    [sid],
  )
  return rows.map(([first, last]) => [Number(first), Number(last)])
}

export async function closeRuns(session: DbSession): Promise<void> {
  await session.query('close runs')
}

export interface RunEvent {
  readonly run: Run
  readonly event: ArchivedEvent
}

/** Reads the events of some runs, in their order, until they weigh `bytes`; at least one event. */
export async function readRuns(
  session: DbSession,
  segment: string,
  runs: readonly Run[],
  bytes: number,
): Promise<RunEvent[]> {
  const rows = await session.query(
    `select e.o, ${CHAIN_COLUMNS}, ${EVENT_COLUMNS}
       from (select w.o, e.*, sum(${EVENT_BYTES}) over (order by w.o, e.seq rows unbounded preceding) - (${EVENT_BYTES}) as bytes_before
               from unnest($1::bigint[], $2::bigint[], $3::bigint[]) with ordinality as w (sid, first_seq, last_seq, o)
              cross join lateral (select * from ${table(segment)} e
                                   where e.sid = w.sid and e.seq between w.first_seq and w.last_seq order by e.seq) e) e
      where e.bytes_before < $4
      order by e.o, e.seq`,
    [runs.map((run) => run.sid), runs.map((run) => run.firstSeq), runs.map((run) => run.lastSeq), bytes],
  )
  return rows.map((row) => ({
    run: runs[Number(row[0]) - 1] as Run,
    event: { ...decodeChain(row, 1), rendered: decodeEvent(row, 1 + CHAIN_COLUMN_COUNT) },
  }))
}

/** Inserts one object and its slices; $1 to $14 come from objectValues. */
const INSERT_OBJECT = `
  o as (
    insert into starcite.objects (key, tenant_id, segment, bytes, sha256, events)
    values ($1, $2, $3, $4, decode($5, 'hex'), $6) returning object_id
  ), w as (
    select w.* from unnest($7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::int[], $12::text[], $13::text[], $14::smallint[])
                      as w (sid, first_seq, last_seq, byte_offset, bytes, sha256, last_hash, last_chain_version)
  ), noted as (
    insert into starcite.slices (sid, first_seq, last_seq, object_id, byte_offset, bytes, sha256, last_hash, last_chain_version)
    select w.sid, w.first_seq, w.last_seq, o.object_id, w.byte_offset, w.bytes, decode(w.sha256, 'hex'), decode(w.last_hash, 'hex'),
           w.last_chain_version
      from o, w
  )`

function objectValues(segment: string, key: string, object: PackedObject): unknown[] {
  const { slices } = object
  return [
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
    // Only an event that was given up can have a hash of another length, and the event after it cannot follow from
    // it.
    slices.map((it) => (it.lastHash.length === HASH_DIGITS ? it.lastHash : null)),
    slices.map((it) => it.lastVersion),
  ]
}

const HASH_DIGITS = 64

/** Records an object that is in the store and verified. Readers do not see it before the segment is moved. */
export async function recordObject(
  session: DbSession,
  segment: string,
  key: string,
  object: PackedObject,
): Promise<void> {
  await session.query(`with ${INSERT_OBJECT} select`, objectValues(segment, key, object))
}

/**
 * Records an object with events that the segment had kept when it was moved. From this statement on, readers find
 * them in the object and no longer in Postgres. Erasures by age of this segment and tenant become pending again, so
 * they cover these events too.
 */
export async function recordRemainder(
  session: DbSession,
  segment: string,
  key: string,
  object: PackedObject,
): Promise<void> {
  const text = `with ${INSERT_OBJECT}, gone as (
       delete from ${table(segment)} e using w where e.sid = w.sid and e.seq between w.first_seq and w.last_seq
     ), again as (
       update starcite.erasures e set state = 'pending', completed_at = null, rechecked = false
        where e.kind = 'segment' and e.segment = $3 and e.tenant_id = $2 and e.state = 'done'
     ) select`
  await session.query(text, objectValues(segment, key, object))
}

/** Counts the events in the segment's partition, and in its recorded objects. */
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
