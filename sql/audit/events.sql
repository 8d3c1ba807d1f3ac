-- The events in Postgres (hot) of the tenants that the reader may read, one row each. While a segment is being moved away
-- its events are here up to the instant in which they are cold, and then no longer: a statement sees them once, here or by
-- audit.slices. In repeatable read, events that moved after the transaction began are in neither.
--
-- Content of an erased session is not shown, from the commit of the erasure on, wherever the removal is.
create or replace view audit.events with (security_barrier) as
select s.tenant_id as tenant, s.id as session, e.seq, e.inserted_at as time, e.type, e.actor, e.producer_id, e.producer_seq,
       e.idempotency_key, e.source,
       case when s.erased_at is null then e.payload end as payload,
       case when s.erased_at is null then starcite.as_jsonb(e.payload) end as payload_jsonb,
       case when s.erased_at is null then e.metadata end as metadata,
       case when s.erased_at is null then e.refs end as refs,
       e.salt is null or s.erased_at is not null as redacted,
       e.content_digest, e.hash, 'hot' as tier,
       case when s.erased_at is null then e.salt end as salt
  from starcite.sessions s
  join starcite.events e on e.sid = s.sid
 where s.tenant_id = any (array(select r.tenant_id from starcite.readable_tenants r))
    or exists (select from starcite.readable_tenants r where r.tenant_id is null);

comment on view audit.events is 'Events that are in Postgres. Older ones are cold: audit.sessions.cold_events counts them, audit.slices says where they lie.';
comment on column audit.events.tenant is 'The tenant of the session.';
comment on column audit.events.session is 'The session.';
comment on column audit.events.seq is 'Position in the session: 1, 2, 3 ... without a hole, in commit order.';
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
comment on column audit.events.hash is 'sha256 of the previous event''s hash and starcite.event_link of this one.';
comment on column audit.events.tier is 'hot: in Postgres.';
comment on column audit.events.salt is '16 random bytes in content_digest; null when redacted.';
