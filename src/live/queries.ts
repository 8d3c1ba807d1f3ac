import type { Db } from '../db/pool.ts'
import { type Frame, renderEvent, type Seq } from '../protocol/event.ts'

const HEADS = {
  name: 'heads',
  text: 'select h.sid, h.last_seq from starcite.session_heads h where h.sid = any ($1::bigint[])',
}

/** last_seq of each of the sessions. */
export async function readHeads(db: Db, sids: readonly string[]): Promise<Map<string, Seq>> {
  const rows = await db.query(HEADS, [sids])
  return new Map(rows.map(([sid, lastSeq]) => [sid as string, Number(lastSeq)]))
}

// to_json writes a timestamp as ISO 8601 whatever DateStyle says, several times faster than to_char.
const EVENT = `e.seq, e.type, e.payload::text, e.actor, e.source, e.producer_id, e.producer_seq, e.idempotency_key,
  e.metadata::text, e.refs::text, to_json(e.inserted_at at time zone 'UTC')::text`

type Row = readonly (string | null)[]

/** "2026-11-23T14:25:25.41" with its quotes, as to_json gives it, to 2026-11-23T14:25:25.410000Z. */
function wireTime(quoted: string): string {
  const whole = quoted.slice(1, 20)
  return `${whole}.${quoted.slice(21, -1).padEnd(6, '0')}Z`
}

function decode(row: Row, from: number): Frame {
  return renderEvent({
    seq: Number(row[from]),
    type: row[from + 1] as string,
    payload: row[from + 2] as string,
    actor: row[from + 3] as string,
    source: row[from + 4] as string | null,
    producerId: row[from + 5] as string | null,
    producerSeq: row[from + 6] === null ? null : Number(row[from + 6]),
    idempotencyKey: row[from + 7] as string | null,
    metadata: row[from + 8] as string,
    refs: row[from + 9] as string,
    insertedAt: wireTime(row[from + 10] as string),
  })
}

/** How much one read may bring: it stops at either, but never before its first event. */
export interface PageBounds {
  readonly events: number
  readonly bytes: number
}

// octet_length of a toasted value is read off its header, so weighing a page does not unpack it.
const BYTES = 'octet_length(e.payload::text) + octet_length(e.metadata::text) + octet_length(e.refs::text)'

const HOT_AFTER = {
  name: 'hot_after',
  text: `select ${EVENT}
           from (select e.*, sum(${BYTES}) over (order by e.seq rows unbounded preceding) - (${BYTES}) as bytes_before
                   from (select * from starcite.events e where e.sid = $1 and e.seq > $2 order by e.seq limit $3) e) e
          where e.bytes_before < $4
          order by e.seq`,
}

/** Hot events of one session after `cursor`, in order. */
export async function readHotAfter(db: Db, sid: string, cursor: Seq, bounds: PageBounds): Promise<Frame[]> {
  const rows = await db.query(HOT_AFTER, [sid, cursor, bounds.events, bounds.bytes])
  return rows.map((row) => decode(row, 0))
}

const HOT_AFTER_MANY = {
  name: 'hot_after_many',
  text: `select w.sid, ${EVENT}
           from unnest($1::bigint[], $2::bigint[]) as w (sid, cursor)
          cross join lateral (
                  select e.*, sum(${BYTES}) over (order by e.seq rows unbounded preceding) - (${BYTES}) as bytes_before
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
): Promise<Map<string, Frame[]>> {
  const values = [wanted.map((it) => it.sid), wanted.map((it) => it.cursor), bounds.events, bounds.bytes]
  const frames = new Map<string, Frame[]>()
  for (const row of await db.query(HOT_AFTER_MANY, values)) {
    const sid = row[0] as string
    const own = frames.get(sid)
    if (own) own.push(decode(row, 1))
    else frames.set(sid, [decode(row, 1)])
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
  text: `select ${EVENT}
           from (select e.*, sum(${BYTES}) over (order by e.seq ${order} rows unbounded preceding) - (${BYTES}) as bytes_before
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
): Promise<Frame[]> {
  const values = [sid, query.above, query.below, query.type, query.actor, bounds.events, bounds.bytes]
  return (await db.query(HISTORY[query.order], values)).map((row) => decode(row, 0))
}
