/**
 * Statements that store many events at once as append_events leaves them, hashes and heads included. `rows` is a query that
 * answers sid, seq (from 1), at, type, actor, payload (json) and salt (bytea); the sessions have no events yet.
 */
export const insertChained = (rows: string): string => `
  with r as materialized (${rows}),
       d as materialized (select r.*, starcite.content_digest(r.salt, r.payload, '{}', '{}') as digest from r),
       c as materialized (
         select d.*, starcite.chain(starcite.genesis_hash(s.tenant_id, s.id), 2,
                                    starcite.chain_link(2, d.seq, d.at, d.type, d.actor, null, null, null, null, null, d.digest))
                       over (partition by d.sid order by d.seq) as hash
           from d join starcite.sessions s on s.sid = d.sid),
       head as (update starcite.session_heads h set last_seq = c.seq, chain_hash = c.hash, last_event_at = c.at
                  from (select distinct on (c.sid) c.* from c order by c.sid, c.seq desc) c where h.sid = c.sid)
  insert into starcite.events (sid, seq, inserted_at, type, actor, payload, metadata, refs, salt, content_digest, hash,
                               chain_version)
  select c.sid, c.seq, c.at, c.type, c.actor, c.payload, '{}', '{}', c.salt, c.digest, c.hash, 2
    from c order by c.at, c.sid`
