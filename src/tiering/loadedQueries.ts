import type { DbSession } from '../db/session.ts'

/** `starcite audit load` holds its lock for one statement at a time. */
const LOCK_TIMEOUT = '10s'

/**
 * Removes the content that these erasures cover from the copies of `starcite audit load`. Erasures of sessions and
 * events do so when they are requested; this covers retention's erasures, and copies that were being inserted at that
 * moment. The lock waits for those inserts, and later inserts see the erasure and insert no content.
 */
export async function emptyLoaded(session: DbSession, erasureIds: readonly string[]): Promise<void> {
  await session.transaction(async () => {
    await session.query(`set local lock_timeout = '${LOCK_TIMEOUT}'`)
    await session.query('lock table starcite.loaded_events in share row exclusive mode')
    await session.query(
      `update starcite.loaded_events l set payload = null, metadata = null, refs = null, salt = null
         from starcite.erasures e
        where e.erasure_id = any ($1::bigint[]) and e.sid = l.sid and l.seq between e.first_seq and e.last_seq
          and l.salt is not null`,
      [erasureIds],
    )
    await session.query(
      `update starcite.loaded_events l set payload = null, metadata = null, refs = null, salt = null
         from starcite.erasures e
         join starcite.segments g on g.name = e.segment
         join starcite.sessions s on s.tenant_id = e.tenant_id
        where e.erasure_id = any ($1::bigint[]) and e.kind = 'segment'
          and l.sid = s.sid and l.inserted_at >= g.from_at and l.inserted_at < g.to_at and l.salt is not null
          and not exists (select from starcite.legal_holds h where h.sid = l.sid)`,
      [erasureIds],
    )
  })
}

/** Deletes the copies that have expired. */
export async function deleteExpired(session: DbSession): Promise<void> {
  await session.query('delete from starcite.loaded_events l where l.expires_at <= clock_timestamp()')
}
