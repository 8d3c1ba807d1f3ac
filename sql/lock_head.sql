-- Locks the head of a session until commit, and returns it: appends wait, or are already committed. All columns are
-- null when there is no such session.
create or replace function starcite.lock_head(p_tenant_id text, p_session_id text) returns starcite.session_heads
language sql set search_path = pg_catalog, pg_temp
as $$
  select h.*
    from starcite.sessions s join starcite.session_heads h on h.sid = s.sid
   where s.tenant_id = p_tenant_id and s.id = p_session_id
     for no key update of h;
$$;
