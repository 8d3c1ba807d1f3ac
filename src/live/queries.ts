import { decodeEvent, EVENT_BYTES, EVENT_COLUMNS, headMicrosecondsOf } from '../db/eventRows.ts'
import type { Db } from '../db/pool.ts'
import type { RenderedEvent, Seq } from '../protocol/event.ts'

const HEADS = {
  name: 'heads',
  text: `select h.sid, h.last_seq, h.epoch, h.erased, ${headMicrosecondsOf('h.last_event_at')}
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

/** The head of a session that has no events, or does not exist. */
export const NO_HEAD: Head = { lastSeq: 0, epoch: 0, erased: false, at: 0 }

/** The head of each of the sessions, by sid. */
export async function readHeads(db: Db, sids: readonly string[]): Promise<Map<string, Head>> {
  const rows = await db.query(HEADS, [sids])
  return new Map(
    rows.map(([sid, lastSeq, epoch, erased, at]) => [
      sid as string,
      { lastSeq: Number(lastSeq), epoch: Number(epoch), erased: erased === 't', at: Number(at) },
    ]),
  )
}

/** A position in a session's log that the node has seen. */
export interface LogPosition {
  readonly seq: Seq
  /** As in Head. */
  readonly at: number
}

const LOG_STATES = {
  name: 'log_states',
  text: `select w.sid, h.last_seq, h.epoch, h.erased, ${headMicrosecondsOf('h.last_event_at')},
                case when w.seq = 0 then 0
                     when w.seq = h.last_seq then ${headMicrosecondsOf('h.last_event_at')}
                     else (select ${headMicrosecondsOf('e.inserted_at')} from starcite.events e where e.sid = w.sid and e.seq = w.seq) end,
                s.tenant_id, s.id, pg_is_in_recovery()
           from unnest($1::bigint[], $2::bigint[]) as w (sid, seq)
           left join starcite.session_heads h on h.sid = w.sid
           left join starcite.sessions s on s.sid = w.sid`,
}

/** A session's log in the database, with the time of the event that the node knows. */
export interface LogState {
  readonly sid: string
  /** Undefined when the session does not exist. */
  readonly head: Head | undefined
  /** The time of the event at the known seq; undefined when it is not in Postgres. */
  readonly atKnown: number | undefined
  /** Tenant and id: after a restore a sid may be given to another session. */
  readonly name: string
  /** The server is a standby, which may lag behind the primary. */
  readonly isReplica: boolean
}

const logName = (tenantId: string | null, id: string | null) => JSON.stringify([tenantId, id])

/** A session's log as a reader has just looked it up. */
export interface SeenLog {
  readonly tenantId: string
  readonly id: string
  readonly lastSeq: Seq
  /** As in Head. */
  readonly epoch: number
  /** As `at` in Head. */
  readonly lastEventAt: number
}

export const nameOf = ({ tenantId, id }: SeenLog): string => logName(tenantId, id)

export const positionOf = ({ lastSeq, lastEventAt }: SeenLog): LogPosition => ({
  seq: lastSeq,
  at: lastEventAt,
})

/** Reads the heads of sessions and the newest known event of each, in one query. */
export async function readLogStates(
  db: Db,
  known: readonly { readonly sid: string; readonly seq: Seq }[],
): Promise<LogState[]> {
  const rows = await db.query(LOG_STATES, [known.map((it) => it.sid), known.map((it) => it.seq)])
  return rows.map(([sid, lastSeq, epoch, erased, at, atKnown, tenantId, id, isReplica]) => ({
    sid: sid as string,
    head:
      lastSeq == null
        ? undefined
        : { lastSeq: Number(lastSeq), epoch: Number(epoch), erased: erased === 't', at: Number(at) },
    atKnown: atKnown == null ? undefined : Number(atKnown),
    name: logName(tenantId ?? null, id ?? null),
    isReplica: isReplica === 't',
  }))
}

/** The most that one read returns. It stops at either bound, but never before its first event. */
export interface PageBounds {
  readonly events: number
  readonly bytes: number
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

/** Hot events of several sessions after the cursor of each, in order; the bounds hold for each session. */
export async function readHotAfterMany(
  db: Db,
  wanted: readonly { readonly sid: string; readonly cursor: Seq }[],
  bounds: PageBounds,
): Promise<Map<string, RenderedEvent[]>> {
  const values = [wanted.map((it) => it.sid), wanted.map((it) => it.cursor), bounds.events, bounds.bytes]
  const events = new Map<string, RenderedEvent[]>()
  for (const row of await db.query(HOT_AFTER_MANY, values)) {
    const sid = row[0] as string
    const own = events.get(sid)
    if (own) own.push(decodeEvent(row, 1))
    else events.set(sid, [decodeEvent(row, 1)])
  }
  return events
}
