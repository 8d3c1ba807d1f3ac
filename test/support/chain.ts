import type pg from 'pg'

/**
 * What is wrong with a session's log as stored, by Postgres's own reckoning: seqs that are not 1..n, times that run
 * backwards, digests and hashes that do not follow from the events, a head that is not at the last of them.
 */
export async function faultsOfLog(db: pg.Client, sessionId: string): Promise<string[]> {
  const { rows } = await db.query<{ faults: string[] }>(
    `with event as (
       select e.*, h.last_seq, h.chain_hash,
              row_number() over w as n, count(*) over () as events,
              lag(e.inserted_at) over w as previous_at,
              starcite.content_digest(e.salt, e.payload, e.metadata, e.refs) as digest_again,
              starcite.chain(starcite.genesis_hash(s.tenant_id, s.id), e.chain_version,
                             starcite.chain_link(e.chain_version, e.seq, e.inserted_at, e.type, e.actor, e.source,
                                                 e.producer_id, e.producer_seq, e.idempotency_key, e.subject,
                                                 e.content_digest))
                over w as hash_again
         from starcite.sessions s
         join starcite.session_heads h on h.sid = s.sid
         join starcite.events e on e.sid = s.sid
        where s.id = $1
       window w as (order by e.seq)
     )
     select coalesce(array_agg(f.fault order by f.seq), '{}') as faults
       from (select e.seq, format('seq %s stands at %s', e.seq, e.n) as fault from event e where e.seq <> e.n
             union all
             select e.seq, format('%s is older than the event before it', e.seq) from event e
              where e.inserted_at < e.previous_at
             union all
             select e.seq, format('the digest of %s', e.seq) from event e where e.digest_again <> e.content_digest
             union all
             select e.seq, format('the hash of %s', e.seq) from event e where e.hash_again <> e.hash
             union all
             select e.seq, format('the head is at %s of %s', e.last_seq, e.events) from event e
              where e.n = e.events and (e.last_seq <> e.seq or e.chain_hash <> e.hash)) f`,
    [sessionId],
  )
  return rows[0]?.faults ?? []
}
