-- What each producer appended last, of the tenants that the reader may read. An erased session has none.
create or replace view audit.producers with (security_barrier) as
select s.tenant_id as tenant, s.id as session, p.producer_id, p.producer_seq, p.seq
  from starcite.sessions s
  join starcite.producers p on p.sid = s.sid
 where s.tenant_id = any (array(select r.tenant_id from starcite.readable_tenants r))
    or exists (select from starcite.readable_tenants r where r.tenant_id is null);

comment on view audit.producers is 'What each producer appended last: the memory that makes retries safe. An erased session has none.';
comment on column audit.producers.tenant is 'The tenant of the session.';
comment on column audit.producers.session is 'The session.';
comment on column audit.producers.producer_id is 'The producer''s name for itself.';
comment on column audit.producers.producer_seq is 'Its own count, as far as it is stored, the next event must carry this plus one.';
comment on column audit.producers.seq is 'seq of the event that this became.';
