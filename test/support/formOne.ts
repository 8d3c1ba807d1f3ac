import type pg from 'pg'

export interface FormOneEvent {
  readonly payload?: string
  readonly key?: string
}

const APPEND = `
  with new as (
    select h.sid, h.last_seq + i.n as seq, x.at, x.salt, i.payload, i.key, h.chain_hash,
           starcite.content_digest(x.salt, i.payload, '{}', '{}') as digest
      from starcite.sessions s
      join starcite.session_heads h using (sid)
     cross join unnest($3::json[], $4::text[]) with ordinality as i (payload, key, n)
     cross join lateral (select greatest(clock_timestamp(), h.last_event_at,
                                         (select s.value::timestamptz from starcite.settings s where s.name = 'closed_before')) as at,
                                uuid_send(gen_random_uuid()) as salt
                          where i.n > 0 offset 0) x
     where s.tenant_id = $1 and s.id = $2
  ), chained as (
    select n.*, starcite.chain(n.chain_hash, starcite.event_link(n.seq, n.at, 'old', 'user:o', null, null, null, n.key, n.digest))
                  over (order by n.seq) as hash
      from new n
  ), stored as (
    insert into starcite.events (sid, seq, inserted_at, type, actor, idempotency_key, payload, metadata, refs, salt,
                                 content_digest, hash, chain_version)
    select c.sid, c.seq, c.at, 'old', 'user:o', c.key, c.payload, '{}', '{}', c.salt, c.digest, c.hash, 1 from chained c
  )
  update starcite.session_heads h set last_seq = c.seq, chain_hash = c.hash, last_event_at = c.at
    from (select * from chained c order by c.seq desc limit 1) c where h.sid = c.sid`

/** Appends events as releases did that had form 1 of the hash chain only. */
export async function appendInFormOne(
  db: pg.Client,
  tenant: string,
  session: string,
  events: readonly FormOneEvent[],
): Promise<void> {
  await db.query(
    `select starcite.ensure_segment(greatest(clock_timestamp(), s.value::timestamptz))
       from starcite.settings s where s.name = 'closed_before'`,
  )
  await db.query(APPEND, [
    tenant,
    session,
    events.map((event, i) => event.payload ?? `{"text":"before ${i}"}`),
    events.map((event) => event.key ?? null),
  ])
}
