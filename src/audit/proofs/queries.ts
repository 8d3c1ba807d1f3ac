import type { Db } from '../../db/pool.ts'
import type { SignedCheckpoint } from '../checkpoints/checkpoint.ts'
import { COLUMNS, decode } from '../checkpoints/queries.ts'

/** Up to which seq checkpoints cover a session, and the newest checkpoint that does; undefined when none does. */
export async function coveredUntil(
  db: Db,
  sid: string,
): Promise<{ readonly seq: number; readonly number: number } | undefined> {
  const text = 'select k.last_seq, k.number from starcite.checkpoint_heads k where k.sid = $1'
  const [row] = await db.query({ text }, [sid])
  return row && { seq: Number(row[0]), number: Number(row[1]) }
}

/** Whether the event's content is erased, also while an object still has it. */
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

/** The time at which the session was created; RFC 3339. */
export async function createdAt(db: Db, sid: string): Promise<string> {
  const text = 'select starcite.wire_time(s.created_at) from starcite.sessions s where s.sid = $1'
  const [row] = await db.query({ text }, [sid])
  return row?.[0] as string
}

const CHECKPOINTS_AT_ONCE = 50

/** The checkpoints with leaves that were taken at or after a time, up to the one of a number, in order. */
export async function* checkpointsSince(
  db: Db,
  time: string,
  until: number,
): AsyncGenerator<SignedCheckpoint, void> {
  const text = `select ${COLUMNS} from starcite.checkpoints c
                 where (c.taken_at >= $1 or c.number = $2) and c.number > $3 and c.number <= $2 and c.leaves > 0
                 order by c.number limit $4`
  for (let after = 0; after < until; ) {
    const rows = await db.query({ text }, [time, until, after, CHECKPOINTS_AT_ONCE])
    const some = rows.map(decode)
    yield* some
    after = some.at(-1)?.number ?? until
  }
}
