import { decodeEvent, EVENT_BYTES, EVENT_COLUMNS } from '../db/eventRows.ts'
import type { Db } from '../db/pool.ts'
import type { PageBounds } from '../live/queries.ts'
import type { RenderedEvent, Seq } from '../protocol/event.ts'

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

export interface HistoryQuery {
  /** Exclusive bounds of seq: only events between them are read. */
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

/** Hot events of one session, in either direction, with filters. */
export async function readHotHistory(
  db: Db,
  sid: string,
  query: HistoryQuery,
  bounds: PageBounds,
): Promise<RenderedEvent[]> {
  const values = [sid, query.above, query.below, query.type, query.actor, bounds.events, bounds.bytes]
  return (await db.query(HISTORY[query.order], values)).map((row) => decodeEvent(row, 0))
}
