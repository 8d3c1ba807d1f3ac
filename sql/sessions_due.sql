-- Sessions that the rules of retention would erase now, because they have been idle for longer than session_after,
-- counted from the last event or change. Sessions under a legal hold are not included. A dry run:
--   select * from starcite.sessions_due();
-- Examines p_sessions sessions after the sid p_after_sid; null: all sessions.
create or replace function starcite.sessions_due(p_after_sid bigint default 0, p_sessions bigint default null)
returns table (tenant_id text, session_id text, sid bigint, events bigint, idle_since timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select s.tenant_id, s.id, s.sid, h.last_seq, i.since
    from (select s.* from starcite.sessions s where s.sid > p_after_sid order by s.sid limit p_sessions) s
    join starcite.session_heads h on h.sid = s.sid and not h.erased
    left join starcite.retention_rules t on t.tenant_id = s.tenant_id
    left join starcite.retention_rules d on d.tenant_id is null
   cross join lateral (select greatest(h.last_event_at, s.updated_at) as since,
                              case when t.tenant_id is null then d.session_after else t.session_after end as after) i
   where i.since < clock_timestamp() - i.after
     and not exists (select from starcite.legal_holds l where l.sid = s.sid)
   order by s.sid
$$;
