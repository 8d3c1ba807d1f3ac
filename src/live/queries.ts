import { decodeEvent, EVENT_BYTES, EVENT_COLUMNS, microsecondsOf } from '../db/eventRows.ts'
import type { Db } from '../db/pool.ts'
import type { RenderedEvent, Seq } from '../protocol/event.ts'

/** Microseconds since 1970, exactly; 0 for a session that has no event. */
const MICROSECONDS = (time: string) => `case when isfinite(${time}) then ${microsecondsOf(time)} else 0 end`

const HEADS = {
  name: 'heads',
  text: `select h.sid, h.last_seq, h.epoch, h.erased, ${MICROSECONDS('h.last_event_at')}
           from starcite.session_heads h where h.sid = any ($1::bigint[])`,
}

export interface Head {
  readonly lastSeq: Seq
  /** Counts removals of content. */
  readonly epoch: number
  readonly erased: boolean
  /** `inserted_at` of the newest event, in microseconds: no other event had this seq at this time. */
  readonly at: number
}

/** The end of each of the sessions. */
export async function readHeads(db: Db, sids: readonly string[]): Promise<Map<string, Head>> {
  const rows = await db.query(HEADS, [sids])
  return new Map(
    rows.map(([sid, lastSeq, epoch, erased, at]) => [
      sid as string,
      { lastSeq: Number(lastSeq), epoch: Number(epoch), erased: erased === 't', at: Number(at) },
    ]),
  )
}

/** How far a session's log was once seen to be. */
export interface Known {
  readonly seq: Seq
  /** As in Head. */
  readonly at: number
}

const STANDING = {
  name: 'standing',
  text: `select w.sid, h.last_seq, h.epoch, h.erased, ${MICROSECONDS('h.last_event_at')},
                case when w.seq = 0 then 0
                     when w.seq = h.last_seq then ${MICROSECONDS('h.last_event_at')}
                     else (select ${MICROSECONDS('e.inserted_at')} from starcite.events e where e.sid = w.sid and e.seq = w.seq) end,
                s.tenant_id, s.id, pg_is_in_recovery()
           from unnest($1::bigint[], $2::bigint[]) as w (sid, seq)
           left join starcite.session_heads h on h.sid = w.sid
           left join starcite.sessions s on s.sid = w.sid`,
}

/** What the database has of a session, beside what was known of it. */
export interface Standing {
  readonly sid: string
  /** Undefined: there is no such session. */
  readonly head: Head | undefined
  /** The time of the event at the known seq; undefined when it is not in Postgres. */
  readonly atKnown: number | undefined
  /** Tenant and id: a sid is given out again when the database was restored. */
  readonly name: string
  /** The server only replays what another one writes, and may be behind it. */
  readonly isReplica: boolean
}

/** Whether what is known of sessions still is what the database has, in one query. */
export async function readStandings(
  db: Db,
  known: readonly { readonly sid: string; readonly seq: Seq }[],
): Promise<Standing[]> {
  const rows = await db.query(STANDING, [known.map((it) => it.sid), known.map((it) => it.seq)])
  return rows.map(([sid, lastSeq, epoch, erased, at, atKnown, tenantId, id, isReplica]) => ({
    sid: sid as string,
    head:
      lastSeq == null
        ? undefined
        : { lastSeq: Number(lastSeq), epoch: Number(epoch), erased: erased === 't', at: Number(at) },
    atKnown: atKnown == null ? undefined : Number(atKnown),
    name: JSON.stringify([tenantId, id]),
    isReplica: isReplica === 't',
  }))
}

/** How much one read may bring: it stops at either, but never before its first event. */
export interface PageBounds {
  readonly events: number
  readonly bytes: number
}

const HOT_AFTER = {
  name: 'hot_after',
  text: `select ${EVENT_COLUMNS}
           from (select e.*, sum(${EVENT_BYTES}) over (order by e.seq rows unbounded preceding) - (${EVENT_BYTES}) as bytes_before
                   from (select * from starcite.events e where e.sid = $1 and e.seq > $2 order by e.seq limit $3) e) e
          where e.bytes_before < $4
          order by e.seq`,
}

/** Hot events of one session after `cursor`, in order. */
export async function readHotAfter(
  db: Db,
  sid: string,
  cursor: Seq,
  bounds: PageBounds,
): Promise<RenderedEvent[]> {
  const rows = await db.query(HOT_AFTER, [sid, cursor, bounds.events, bounds.bytes])
  return rows.map((row) => decodeEvent(row, 0))
}

const HOT_AFTER_MANY = {
  name: 'hot_after_many',
  text: `select w.sid, ${EVENT_COLUMNS}
           from unnest($1::bigint[], $2::bigint[]) as w (sid, cursor)
          cross join lateral (
                  select e.*, sum(${EVENT_BYTES}) over (order by e.seq rows unbounded preceding) - (${EVENT_BYTES}) as bytes_before
                    from (select * from starcite.events e
                           where e.sid = w.sid and e.seq > w.cursor order by e.seq limit $3) e) e
          where e.bytes_before < $4
          order by w.sid, e.seq`,
}

/** The same for several sessions in one query; the bounds hold for each. */
export async function readHotAfterMany(
  db: Db,
  wanted: readonly { readonly sid: string; readonly cursor: Seq }[],
  bounds: PageBounds,
): Promise<Map<string, RenderedEvent[]>> {
  const values = [wanted.map((it) => it.sid), wanted.map((it) => it.cursor), bounds.events, bounds.bytes]
  const frames = new Map<string, RenderedEvent[]>()
  for (const row of await db.query(HOT_AFTER_MANY, values)) {
    const sid = row[0] as string
    const own = frames.get(sid)
    if (own) own.push(decodeEvent(row, 1))
    else frames.set(sid, [decodeEvent(row, 1)])
  }
  return frames
}

export interface HistoryQuery {
  /** Exclusive bounds of seq: only events between them are looked at. */
  readonly above: Seq
  readonly below: Seq
  readonly order: 'asc' | 'desc'
  readonly type: string | null
  readonly actor: string | null
}

const history = (order: 'asc' | 'desc') => ({
  name: `hot_history_${order}`,
  text: `select ${EVENT_COLUMNS}
           from (select e.*, sum(${EVENT_BYTES}) over (order by e.seq ${order} rows unbounded preceding) - (${EVENT_BYTES}) as bytes_before
                   from (select * from starcite.events e
                          where e.sid = $1 and e.seq > $2 and e.seq < $3
                            and ($4::text is null or e.type = $4) and ($5::text is null or e.actor = $5)
                          order by e.seq ${order} limit $6) e) e
          where e.bytes_before < $7
          order by e.seq ${order}`,
})
const HISTORY = { asc: history('asc'), desc: history('desc') }

/** Hot events of one session, in either direction, filtered. */
export async function readHotHistory(
  db: Db,
  sid: string,
  query: HistoryQuery,
  bounds: PageBounds,
): Promise<RenderedEvent[]> {
  const values = [sid, query.above, query.below, query.type, query.actor, bounds.events, bounds.bytes]
  return (await db.query(HISTORY[query.order], values)).map((row) => decodeEvent(row, 0))
}
