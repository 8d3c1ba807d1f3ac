import type { Db } from '../../db/pool.ts'

/**
 * An event as it is inserted into starcite.loaded_events. Digests are lower-case hex; content is JSON text, null when
 * erased.
 */
export interface LoadedEvent {
  readonly sid: string
  readonly seq: number
  readonly insertedAt: string
  readonly type: string
  readonly actor: string
  readonly source: string | null
  readonly producerId: string | null
  readonly producerSeq: string | null
  readonly idempotencyKey: string | null
  readonly payload: string | null
  readonly metadata: string | null
  readonly refs: string | null
  readonly salt: string | null
  readonly contentDigest: string
  readonly hash: string
  readonly chainVersion: number
  readonly subject: string | null
}

// Content whose erasure was requested since it was read is left out: this statement sees every erasure that was
// committed before it began, and the eraser waits for this statement (src/tiering/loadedQueries.ts). A copy that
// exists already stays as it is, and is kept longer when that is requested.
const INSERT = {
  name: 'audit_load',
  text: `
    insert into starcite.loaded_events as l
           (sid, seq, inserted_at, type, actor, source, producer_id, producer_seq, idempotency_key,
            payload, metadata, refs, salt, content_digest, hash, loaded_at, expires_at, chain_version, subject)
    select w.sid, w.seq, w.inserted_at, w.type, w.actor, w.source, w.producer_id, w.producer_seq, w.idempotency_key,
           case when not c.is_erased then w.payload end, case when not c.is_erased then w.metadata end,
           case when not c.is_erased then w.refs end, case when not c.is_erased then decode(w.salt, 'hex') end,
           decode(w.content_digest, 'hex'), decode(w.hash, 'hex'), now(), $16::timestamptz, w.chain_version, w.subject
      from unnest($1::bigint[], $2::bigint[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[],
                  $8::bigint[], $9::text[], $10::json[], $11::json[], $12::json[], $13::text[], $14::text[], $15::text[],
                  $17::smallint[], $18::text[])
             as w (sid, seq, inserted_at, type, actor, source, producer_id, producer_seq, idempotency_key,
                   payload, metadata, refs, salt, content_digest, hash, chain_version, subject)
      join starcite.sessions s on s.sid = w.sid
     cross join lateral (
             select exists (select from starcite.erasures e
                             where e.sid = w.sid and w.seq between e.first_seq and e.last_seq)
                 or exists (select from starcite.erasures e
                              join starcite.segments g on g.name = e.segment
                             where e.kind = 'segment' and e.tenant_id = s.tenant_id
                               and w.inserted_at >= g.from_at and w.inserted_at < g.to_at
                               and not exists (select from starcite.legal_holds h where h.sid = w.sid)) as is_erased) c
        on conflict (sid, seq) do update set expires_at = greatest(l.expires_at, excluded.expires_at)
     where l.expires_at < excluded.expires_at`,
}

/** Inserts copies. `expiresAt` is RFC 3339. */
export async function insertLoaded(db: Db, events: readonly LoadedEvent[], expiresAt: string): Promise<void> {
  const column = (of: (event: LoadedEvent) => unknown) => events.map(of)
  await db.query(INSERT, [
    column((it) => it.sid),
    column((it) => it.seq),
    column((it) => it.insertedAt),
    column((it) => it.type),
    column((it) => it.actor),
    column((it) => it.source),
    column((it) => it.producerId),
    column((it) => it.producerSeq),
    column((it) => it.idempotencyKey),
    column((it) => it.payload),
    column((it) => it.metadata),
    column((it) => it.refs),
    column((it) => it.salt),
    column((it) => it.contentDigest),
    column((it) => it.hash),
    expiresAt,
    column((it) => it.chainVersion),
    column((it) => it.subject),
  ])
}

const EXPIRES = { name: 'audit_expires', text: `select starcite.wire_time(clock_timestamp() + $1::interval)` }

/** The time that is `ms` from now, by the database's clock. RFC 3339. */
export async function expiryAfter(db: Db, ms: number): Promise<string> {
  const [row] = await db.query(EXPIRES, [`${ms / 1000} seconds`])
  return row?.[0] as string
}

const EXPIRED = {
  name: 'audit_delete_expired',
  text: `with d as (delete from starcite.loaded_events l where l.expires_at <= clock_timestamp() returning 1)
         select count(*) from d`,
}

/** Deletes the copies that have expired. Returns how many. */
export async function deleteExpired(db: Db): Promise<number> {
  const [row] = await db.query(EXPIRED, [])
  return Number(row?.[0])
}

const UNLOAD = {
  name: 'audit_unload',
  text: `with d as (
           delete from starcite.loaded_events l using starcite.sessions s
            where s.sid = l.sid and ($1::text is null or s.tenant_id = $1) and ($2::text is null or s.id = $2)
           returning 1)
         select count(*) from d`,
}

/** Deletes the copies of a session, of a tenant, or all of them. Returns how many. */
export async function unload(
  db: Db,
  { tenant, session }: { tenant?: string; session?: string },
): Promise<number> {
  const [row] = await db.query(UNLOAD, [tenant ?? null, session ?? null])
  return Number(row?.[0])
}
