-- The bytes of an object that hold a run of a session's cold events, for the tenants that the reader may read. The
-- bytes are a gzip file of their own (docs/archive-format.md).
create or replace view audit.slices with (security_barrier) as
select s.tenant_id as tenant, s.id as session, starcite.past_tenants(p.first_seq) as first_seq, starcite.past_tenants(p.last_seq) as last_seq,
       starcite.past_tenants(o.segment) as segment, starcite.past_tenants(o.key) as object_key,
       starcite.past_tenants(p.byte_offset) as byte_offset, starcite.past_tenants(p.bytes) as bytes, starcite.past_tenants(p.sha256) as sha256
  from starcite.readable_sessions s
  join starcite.slices p on p.sid = s.sid
  join starcite.objects o on o.object_id = p.object_id
  join starcite.segments g on g.name = o.segment and g.state in ('moved', 'dropped');

comment on view audit.slices is 'The location of each run of a session''s cold events.';
comment on column audit.slices.tenant is 'The tenant of the session.';
comment on column audit.slices.session is 'The session.';
comment on column audit.slices.first_seq is 'First event of the run.';
comment on column audit.slices.last_seq is 'Last event of the run, all between are in it.';
comment on column audit.slices.segment is 'The segment of the events.';
comment on column audit.slices.object_key is 'The object, as in audit.segments.';
comment on column audit.slices.byte_offset is 'Where in the object the run begins.';
comment on column audit.slices.bytes is 'Its length there, compressed.';
comment on column audit.slices.sha256 is 'Checksum of those bytes.';
