-- Which of the named sessions have their head locked by another transaction now: their positions, from 1. Called
-- after append_events gave up on a lock, so that the other sessions of that call can proceed.
create or replace function starcite.busy_sessions(p_tenant_ids text[], p_session_ids text[]) returns setof int
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_free bigint[];
begin
  v_free := array(
    select h.sid
      from starcite.session_heads h
     where h.sid = any (array(
             select s.sid
               from unnest(p_tenant_ids, p_session_ids) as k (t, i)
              cross join lateral (select s.sid from starcite.sessions s
                                   where s.tenant_id = k.t and s.id = k.i limit 1) s))
       for no key update skip locked);
  return query
    select k.o::int
      from unnest(p_tenant_ids, p_session_ids) with ordinality as k (t, i, o)
     cross join lateral (select s.sid from starcite.sessions s where s.tenant_id = k.t and s.id = k.i limit 1) s
     where s.sid <> all (v_free);
end
$$;
