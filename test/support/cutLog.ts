import type pg from 'pg'

/**
 * Takes the events after `lastSeq` out of a session, as a restore of an older backup does. `then` runs in the same transaction, for
 * events that replace them.
 */
export async function cutLog(
  db: pg.Client,
  sid: string,
  lastSeq: number,
  then: () => Promise<void> = async () => {},
): Promise<void> {
  await db.query('begin')
  await db.query('delete from starcite.events e where e.sid = $1 and e.seq > $2', [sid, lastSeq])
  await db.query(
    `update starcite.session_heads h set last_seq = e.seq, chain_hash = e.hash, last_event_at = e.inserted_at
       from starcite.events e where h.sid = $1 and e.sid = $1 and e.seq = $2`,
    [sid, lastSeq],
  )
  await then()
  await db.query('commit')
}
