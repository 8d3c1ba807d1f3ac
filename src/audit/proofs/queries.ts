import type { Db } from '../../db/pool.ts'
import type { SignedCheckpoint } from '../checkpoints/checkpoint.ts'
import { COLUMNS, decode } from '../checkpoints/queries.ts'

/** How far checkpoints cover a session, and the newest of those that do; undefined: not at all. */
export async function coveredUntil(
  db: Db,
  sid: string,
): Promise<{ readonly seq: number; readonly number: number } | undefined> {
  const text = 'select k.last_seq, k.number from starcite.checkpoint_heads k where k.sid = $1'
  const [row] = await db.query({ text }, [sid])
  return row && { seq: Number(row[0]), number: Number(row[1]) }
}

/** Whether the event's content is erased, also where an object still has it for a while. */
export async function isErased(db: Db, sid: string, seq: number): Promise<boolean> {
  const [row] = await db.query(
    {
      text: `select exists (select from starcite.erasures e
                             where e.sid = $1 and $2 between e.first_seq and e.last_seq)
                 or (select h.erased from starcite.session_heads h where h.sid = $1)`,
    },
    [sid, seq],
  )
  return row?.[0] === 't'
}

/** Checkpoints that were taken at or after an event's time, up to one; the first of them, in order. */
export async function checkpointsAfter(
  db: Db,
  time: string,
  until: number,
  limit: number,
): Promise<SignedCheckpoint[]> {
  const rows = await db.query(
    {
      text: `select ${COLUMNS}
               from ((select * from starcite.checkpoints c
                       where c.taken_at >= $1 and c.number < $2 and c.leaves > 0 order by c.number limit $3)
                     union all
                     select * from starcite.checkpoints c where c.number = $2) c
              order by c.number`,
    },
    [time, until, limit],
  )
  return rows.map(decode)
}
