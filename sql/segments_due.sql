-- The content that the rules of retention would erase now, by tenant and segment: cold segments that ended longer
-- than content_after ago. A dry run:
--   select * from starcite.segments_due();
-- held is the number of sessions under a legal hold, which would be skipped.
create or replace function starcite.segments_due()
returns table (tenant_id text, segment text, ended_at timestamptz, events bigint, sessions bigint, held bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select o.tenant_id, o.segment, g.to_at, sum(s.last_seq - s.first_seq + 1)::bigint, count(distinct s.sid),
         count(distinct l.sid)
    from starcite.segments g
    join starcite.objects o on o.segment = g.name
    join starcite.slices s on s.object_id = o.object_id
    left join starcite.legal_holds l on l.sid = s.sid
    left join starcite.retention_rules t on t.tenant_id = o.tenant_id
    left join starcite.retention_rules d on d.tenant_id is null
   where g.state in ('moved', 'dropped')
     and g.to_at < clock_timestamp() - case when t.tenant_id is null then d.content_after else t.content_after end
     and not exists (select from starcite.erasures e where e.kind = 'segment' and e.segment = o.segment
                                                       and e.tenant_id = o.tenant_id)
   group by o.tenant_id, o.segment, g.to_at
   order by g.to_at, o.tenant_id
$$;
