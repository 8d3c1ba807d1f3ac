-- For each segment, the objects of the tenants that the reader may read; one row without an object for a segment that
-- is in Postgres, or of which those tenants have no events. Objects of a move in progress are not shown.
create or replace view audit.segments with (security_barrier) as
select o.tenant_id as tenant, g.name as segment, g.from_at as from_time, g.to_at as to_time, g.state,
       case when g.state in ('moved', 'dropped') then 'cold' else 'hot' end as tier, g.moved_at,
       o.object_key, o.bytes, o.sha256, o.events
  from starcite.segments g
  left join (select r.segment, r.tenant_id, starcite.past_tenants(r.key) as object_key, starcite.past_tenants(r.bytes) as bytes, starcite.past_tenants(r.sha256) as sha256,
                    starcite.past_tenants(r.events) as events
               from (select o.segment, o.tenant_id, o.key, o.bytes, o.sha256, o.events
                       from starcite.objects o
                      where exists (select from starcite.readable_tenants r where r.tenant_id is null)
                      union all
                     select o.segment, o.tenant_id, o.key, o.bytes, o.sha256, o.events
                       from starcite.objects o
                      where array(select r.tenant_id from starcite.readable_tenants r) @> array[o.tenant_id]
                        and o.tenant_id = any (array(select r.tenant_id from starcite.readable_tenants r))
                        and not exists (select from starcite.readable_tenants r where r.tenant_id is null)) r) o
         on o.segment = g.name and g.state in ('moved', 'dropped');

comment on view audit.segments is 'The objects of each segment, or that it is still in Postgres.';
comment on column audit.segments.tenant is 'The tenant whose events the object holds; null without an object.';
comment on column audit.segments.segment is 'Name of the segment, part of the object''s key.';
comment on column audit.segments.from_time is 'Its events have a time from here ...';
comment on column audit.segments.to_time is '... to before here.';
comment on column audit.segments.state is 'hot, closed (being copied), moved (read from objects), dropped (and the empty partition is gone).';
comment on column audit.segments.tier is 'hot: in Postgres, see audit.events, cold: in objects.';
comment on column audit.segments.moved_at is 'The instant since which its events are cold; null before.';
comment on column audit.segments.object_key is 'Where the object lies, without the store''s own prefix, ends with a digest of its content. Null without an object.';
comment on column audit.segments.bytes is 'Length of the object.';
comment on column audit.segments.sha256 is 'Checksum of the object, as it was read back from the store.';
comment on column audit.segments.events is 'How many events it holds, those without content included.';
