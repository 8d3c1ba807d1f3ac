-- Copies of cold events that `starcite audit load` has made for a while, for the tenants that the reader may read. It
-- has the columns of audit.events, and when each copy was made and expires. A server that crashed has lost them all.
create or replace view audit.events_loaded with (security_barrier) as
select e.tenant, e.session, e.seq, e.time, e.type, e.actor, e.producer_id, e.producer_seq, e.idempotency_key, e.source, e.payload,
       starcite.as_jsonb(e.payload) as payload_jsonb, e.metadata, e.refs, e.redacted, e.content_digest, e.hash, 'cold' as tier,
       e.salt, e.loaded_at, e.expires_at, e.chain_version, e.subject
  from (select s.tenant_id as tenant, s.id as session, e.seq, e.inserted_at as time, starcite.past_tenants(e.type) as type, starcite.past_tenants(e.actor) as actor,
               starcite.past_tenants(e.producer_id) as producer_id, starcite.past_tenants(e.producer_seq) as producer_seq, starcite.past_tenants(e.idempotency_key) as idempotency_key,
               starcite.past_tenants(e.source) as source,
               starcite.past_tenants(case when s.erased_at is null then e.payload end) as payload,
               starcite.past_tenants(case when s.erased_at is null then e.metadata end) as metadata,
               starcite.past_tenants(case when s.erased_at is null then e.refs end) as refs,
               starcite.past_tenants(e.salt is null or s.erased_at is not null) as redacted,
               starcite.past_tenants(e.content_digest) as content_digest, starcite.past_tenants(e.hash) as hash,
               starcite.past_tenants(case when s.erased_at is null then e.salt end) as salt,
               starcite.past_tenants(e.loaded_at) as loaded_at, starcite.past_tenants(e.expires_at) as expires_at,
               starcite.past_tenants(e.chain_version) as chain_version, starcite.past_tenants(e.subject) as subject
          from starcite.readable_sessions s
          join starcite.loaded_events e on e.sid = s.sid
         where e.expires_at > now()) e;

comment on view audit.events_loaded is 'Cold events that were loaded for a while (starcite audit load). It has only events that were loaded.';
comment on column audit.events_loaded.tenant is 'The tenant of the session.';
comment on column audit.events_loaded.session is 'The session.';
comment on column audit.events_loaded.seq is 'Position in the session.';
comment on column audit.events_loaded.time is 'When it was appended; never runs backwards in a session.';
comment on column audit.events_loaded.type is 'What kind of event it is.';
comment on column audit.events_loaded.actor is 'Who appended it.';
comment on column audit.events_loaded.producer_id is 'The producer, for safe retries; null without one.';
comment on column audit.events_loaded.producer_seq is 'The count of the producer itself; null without one.';
comment on column audit.events_loaded.idempotency_key is 'As it was sent; null without one.';
comment on column audit.events_loaded.source is 'As it was sent; null without one.';
comment on column audit.events_loaded.payload is 'Exactly the text that was sent; null when redacted.';
comment on column audit.events_loaded.payload_jsonb is 'The payload for jsonb operators; null when redacted, and where it does not convert (starcite.as_jsonb).';
comment on column audit.events_loaded.metadata is 'Exactly the text that was sent; null when redacted.';
comment on column audit.events_loaded.refs is 'Exactly the text that was sent; null when redacted.';
comment on column audit.events_loaded.redacted is 'Whether the content was erased.';
comment on column audit.events_loaded.content_digest is 'starcite.content_digest of salt, payload, metadata and refs; stays when the content is erased.';
comment on column audit.events_loaded.hash is 'starcite.chained_hash of the hash of the event before and starcite.chain_link of this one.';
comment on column audit.events_loaded.tier is 'cold: in an object.';
comment on column audit.events_loaded.salt is '16 random bytes in content_digest; null when redacted.';
comment on column audit.events_loaded.loaded_at is 'When the copy was made.';
comment on column audit.events_loaded.expires_at is 'Until when it is here.';
comment on column audit.events_loaded.chain_version is 'Which form of starcite.chained_hash the hash has: 1 or 2, never less than that of the event before.';
comment on column audit.events_loaded.subject is 'Subject of the token that appended it in the name of actor; null when the actor appended it.';
