import pg from 'pg'
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
import type { ArchivedEvent } from '../slice.ts'
import type { Appended } from './pace.ts'
import type { Owner, PackedObject } from './packer.ts'

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
  const [ofRest, ofEvents] = from
    ? [
        literals('where (s.tenant_id, e.sid) >= ($1, $2::bigint)', [from.tenantId, from.sid]),
        literals('where not (e.sid = $1::bigint and e.seq <= $2::bigint)', [from.sid, from.lastSeq]),
      ]
    : ['', '']
  await session.query('close all')
  // Grouped before they are joined: there are many more events than sessions.
  await session.query(
    `declare runs cursor with hold for
      select s.tenant_id, e.sid, s.id, e.first_seq, e.last_seq, e.bytes
        from (select e.sid, min(e.seq) as first_seq, max(e.seq) as last_seq, sum(${EVENT_BYTES}) as bytes
                from ${table(segment)} e ${ofEvents} group by e.sid) e
        join starcite.sessions s on s.sid = e.sid ${ofRest}
       order by s.tenant_id, e.sid`,
  )
}

/** A cursor's query takes no parameters. */
function literals(text: string, values: readonly (string | number)[]): string {
  return text.replace(/\$(\d)/g, (_, n) => pg.escapeLiteral(String(values[Number(n) - 1])))
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
    event: { ...decodeChain(row, 1), frame: decodeEvent(row, 1 + CHAIN_COLUMN_COUNT) },
  }))
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

export async function appended(session: DbSession): Promise<Appended> {
  const [row] = await session.query(
    `select sum(pg_stat_get_tuples_inserted(t.oid)), sum(pg_table_size(t.oid))
       from (select to_regclass(format('starcite.%I', g.name)) as oid
               from starcite.segments g where g.state = 'hot') t`,
  )
  return { events: Number(row?.[0] ?? 0), bytes: Number(row?.[1] ?? 0) }
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
