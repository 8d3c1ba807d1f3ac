-- The hot events (in Postgres) of the tenants that the reader may read, one row each. While a segment is being moved,
-- its events are here until they are cold: a statement sees them once, here or through audit.slices. In repeatable
-- read, events that moved after the transaction began are in neither.
--
-- The content of an erased session is not shown from the commit of the erasure on, however far the removal is.
create or replace view audit.events with (security_barrier) as
select e.tenant, e.session, e.seq, e.time, e.type, e.actor, starcite.past_tenants(e.producer_id) as producer_id, starcite.past_tenants(e.producer_seq) as producer_seq,
       starcite.past_tenants(e.idempotency_key) as idempotency_key, starcite.past_tenants(e.source) as source, e.payload, starcite.as_jsonb(e.payload) as payload_jsonb,
       starcite.past_tenants(case when e.erased_at is null then e.metadata end) as metadata,
       starcite.past_tenants(case when e.erased_at is null then e.refs end) as refs,
       starcite.past_tenants(e.salt is null or e.erased_at is not null) as redacted,
       starcite.past_tenants(e.content_digest) as content_digest, starcite.past_tenants(e.hash) as hash, 'hot' as tier,
       starcite.past_tenants(case when e.erased_at is null then e.salt end) as salt,
       starcite.past_tenants(e.chain_version) as chain_version, starcite.past_tenants(e.subject) as subject
  from (select s.tenant_id as tenant, s.id as session, s.erased_at, e.seq, e.inserted_at as time, e.type, e.actor, e.producer_id,
               e.producer_seq, e.idempotency_key, e.source,
               starcite.past_tenants(case when s.erased_at is null then e.payload end) as payload,
               e.metadata, e.refs, e.content_digest, e.hash, e.salt, e.chain_version, e.subject
          from starcite.sessions s
          join starcite.events e on e.sid = s.sid
         where exists (select from starcite.readable_tenants r where r.tenant_id is null)
         union all
        select s.tenant_id, s.id, s.erased_at, e.seq, e.inserted_at, starcite.past_tenants(e.type), starcite.past_tenants(e.actor), e.producer_id,
               e.producer_seq, e.idempotency_key, e.source,
               starcite.past_tenants(case when s.erased_at is null then e.payload end) as payload,
               e.metadata, e.refs, e.content_digest, e.hash, e.salt, e.chain_version, e.subject
          from starcite.sessions s
          join starcite.events e on e.sid = s.sid
         where array(select r.tenant_id from starcite.readable_tenants r) @> array[s.tenant_id]
           and s.tenant_id = any (array(select r.tenant_id from starcite.readable_tenants r))
           and not exists (select from starcite.readable_tenants r where r.tenant_id is null)) e;

comment on view audit.events is 'Events that are in Postgres. Older ones are cold: audit.sessions.cold_events counts them, audit.slices says where they are.';
comment on column audit.events.tenant is 'The tenant of the session.';
comment on column audit.events.session is 'The session.';
comment on column audit.events.seq is 'Position in the session: 1, 2, 3 ... without a gap, in commit order.';
comment on column audit.events.time is 'When it was appended, by the database''s clock, never runs backwards in a session.';
comment on column audit.events.type is 'What kind of event it is, in the words of those who append.';
comment on column audit.events.actor is 'Who appended it: with a token, its subject.';
comment on column audit.events.producer_id is 'The producer, for safe retries; null without one.';
comment on column audit.events.producer_seq is 'The producer''s own count; null without one.';
comment on column audit.events.idempotency_key is 'As it was sent; null without one.';
comment on column audit.events.source is 'As it was sent; null without one.';
comment on column audit.events.payload is 'Exactly the text that was sent; null when redacted.';
comment on column audit.events.payload_jsonb is 'The payload for jsonb operators; null when redacted, and where it does not convert (starcite.as_jsonb). Costs nothing when not asked for.';
comment on column audit.events.metadata is 'Exactly the text that was sent; null when redacted.';
comment on column audit.events.refs is 'Exactly the text that was sent; null when redacted.';
comment on column audit.events.redacted is 'Whether the content was erased: audit.changes says by whom. Digest and hash stay.';
comment on column audit.events.content_digest is 'starcite.content_digest(salt, payload, metadata, refs), stays when the content is erased.';
comment on column audit.events.hash is 'starcite.chained_hash of the previous event''s hash and starcite.chain_link of this one.';
comment on column audit.events.tier is 'hot: in Postgres.';
comment on column audit.events.salt is '16 random bytes in content_digest; null when redacted.';
comment on column audit.events.chain_version is 'Which form of starcite.chained_hash the hash has: 1 or 2, never less than that of the event before.';
comment on column audit.events.subject is 'Subject of the token that appended it in the name of actor; null when the actor appended it.';
