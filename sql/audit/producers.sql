-- The last event of each producer, for the tenants that the reader may read. An erased session has none.
create or replace view audit.producers with (security_barrier) as
select s.tenant_id as tenant, s.id as session, starcite.past_tenants(p.producer_id) as producer_id, starcite.past_tenants(p.producer_seq) as producer_seq,
       starcite.past_tenants(p.seq) as seq
  from starcite.readable_sessions s
  join starcite.producers p on p.sid = s.sid;

comment on view audit.producers is 'What each producer appended last: the memory that makes retries safe. An erased session has none.';
comment on column audit.producers.tenant is 'The tenant of the session.';
comment on column audit.producers.session is 'The session.';
comment on column audit.producers.producer_id is 'The producer''s name for itself.';
comment on column audit.producers.producer_seq is 'Its own count, as far as it is stored, the next event must carry this plus one.';
comment on column audit.producers.seq is 'seq of the event that this became.';
