import { microsecondsOf } from '../db/eventRows.ts'
import type { Db } from '../db/pool.ts'
import type { Seq } from '../protocol/event.ts'

const LOG_END = {
  name: 'log_end',
  text: `select s.tenant_id, s.id, h.last_seq, h.erased, pg_is_in_recovery()
           from starcite.session_heads h join starcite.sessions s on s.sid = h.sid
          where h.sid = $1`,
}

/** The end of a session's log, as the database has it. */
export interface LogEnd {
  readonly tenantId: string
  readonly sessionId: string
  readonly lastSeq: Seq
  readonly erased: boolean
  /** The server is a standby, which may lag behind the primary. */
  readonly isReplica: boolean
}

/** The end of the session's log; undefined when the session does not exist. */
export async function readLogEnd(db: Db, sid: string): Promise<LogEnd | undefined> {
  const [row] = await db.query(LOG_END, [sid])
  if (row === undefined) return undefined
  const [tenantId, sessionId, lastSeq, erased, isReplica] = row
  return {
    tenantId: tenantId as string,
    sessionId: sessionId as string,
    lastSeq: Number(lastSeq),
    erased: erased === 't',
    isReplica: isReplica === 't',
  }
}

const COUNT_HOT = {
  name: 'count_hot',
  text: 'select count(*) from starcite.events e where e.sid = $1 and e.seq between $2 and $3',
}

/** The number of hot events in a range of seqs; fewer than seqs when some are missing. Reads only the index. */
export async function countHot(db: Db, sid: string, from: Seq, to: Seq): Promise<number> {
  const [row] = await db.query(COUNT_HOT, [sid, from, to])
  return Number(row?.[0])
}

const firstMissing = (order: 'asc' | 'desc') => ({
  name: `first_missing_${order}`,
  text: `select coalesce(min(e.place) filter (where e.seq <> ${order === 'asc' ? '$2::bigint + e.place - 1' : '$3::bigint - e.place + 1'}),
                         count(*) + 1)
           from (select e.seq, row_number() over (order by e.seq ${order}) as place from starcite.events e
                  where e.sid = $1 and e.seq between $2 and $3) e`,
})
const FIRST_MISSING = { asc: firstMissing('asc'), desc: firstMissing('desc') }

/** The first missing seq of a hot range, in this order; one past the range when none is missing. */
export async function findFirstMissing(
  db: Db,
  sid: string,
  from: Seq,
  to: Seq,
  order: 'asc' | 'desc',
): Promise<Seq> {
  const [row] = await db.query(FIRST_MISSING[order], [sid, from, to])
  const place = Number(row?.[0])
  return order === 'asc' ? from + place - 1 : to - place + 1
}

const EVENT_AT = {
  name: 'event_at',
  text: `select ${microsecondsOf('e.inserted_at')} from starcite.events e
          where e.sid = $1 and e.seq = $2`,
}

/** The time of a hot event, in microseconds since 1970; undefined when it is not hot. */
export async function readEventAt(db: Db, sid: string, seq: Seq): Promise<number | undefined> {
  const [row] = await db.query(EVENT_AT, [sid, seq])
  return row?.[0] == null ? undefined : Number(row[0])
}

const IS_REPLICA = { name: 'is_replica', text: 'select pg_is_in_recovery()' }

/** Whether the server is a standby, which may lag behind the primary. */
export async function readIsReplica(db: Db): Promise<boolean> {
  const [row] = await db.query(IS_REPLICA, [])
  return row?.[0] === 't'
}
