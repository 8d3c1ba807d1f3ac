import type { Db } from '../../db/pool.ts'

/** The location of a contiguous run of one session's events. */
export interface Slice {
  readonly key: string
  readonly firstSeq: number
  readonly lastSeq: number
  readonly offset: number
  readonly bytes: number
  readonly sha256: string
  /** The session's epoch, which counts removals of content. */
  readonly epoch: number
  /** First and last seq of events whose content must not be shown any more, although the object still has it. */
  readonly hidden: readonly (readonly [number, number])[]
}

const FIND_SLICE = {
  name: 'find_slice',
  // Slices of a session do not overlap, so only the last one that begins at or before the seq can hold the event.
  text: `select o.key, s.first_seq, s.last_seq, s.byte_offset, s.bytes, encode(s.sha256, 'hex'),
                (select h.epoch from starcite.session_heads h where h.sid = $1),
                (select json_agg(json_build_array(e.first_seq, e.last_seq)) from starcite.erasures e
                  where e.sid = $1 and e.state = 'pending' and e.first_seq <= s.last_seq and e.last_seq >= s.first_seq)
           from (select * from starcite.slices s where s.sid = $1 and s.first_seq <= $2
                  order by s.first_seq desc limit 1) s
           join starcite.objects o on o.object_id = s.object_id
           join starcite.segments g on g.name = o.segment and g.state in ('moved', 'dropped')
          where s.last_seq >= $2`,
}

/** Finds the slice that holds an event; undefined when the event is not cold. */
export async function findSlice(db: Db, sid: string, seq: number): Promise<Slice | undefined> {
  const [row] = await db.query(FIND_SLICE, [sid, seq])
  if (row === undefined) return undefined
  const [key, firstSeq, lastSeq, offset, bytes, sha256, epoch, hidden] = row
  return {
    key: key as string,
    firstSeq: Number(firstSeq),
    lastSeq: Number(lastSeq),
    offset: Number(offset),
    bytes: Number(bytes),
    sha256: sha256 as string,
    epoch: Number(epoch),
    hidden: JSON.parse(hidden ?? '[]') as [number, number][],
  }
}

const EPOCHS = {
  name: 'epochs',
  text: 'select h.sid, h.epoch from starcite.session_heads h where h.sid = any ($1::bigint[])',
}

export async function readEpochs(db: Db, sids: readonly string[]): Promise<Map<string, number>> {
  const rows = await db.query(EPOCHS, [sids])
  return new Map(rows.map(([sid, epoch]) => [sid as string, Number(epoch)]))
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

/** The last seq of a session's cold part, which is always a prefix of its log; 0 when all of the log is hot. */
export async function coldUntil(db: Db, sid: string): Promise<number> {
  const [row] = await db.query(COLD_UNTIL, [sid])
  return Number(row?.[0] ?? 0)
}
