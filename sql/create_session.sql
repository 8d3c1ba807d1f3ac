-- Creates a session and the head of its log. Answers its sid, or null when the tenant has a session of that id
-- (erased ones count: an id is never used twice).
create or replace function starcite.create_session(
  p_tenant_id text, p_id text, p_title text default null, p_metadata json default '{}',
  p_creator_principal json default null)
returns bigint
language sql security definer set search_path = pg_catalog, pg_temp
as $$
  with created as (
    insert into starcite.sessions as s (tenant_id, id, title, metadata, creator_principal, created_at, updated_at)
    select p_tenant_id, p_id, p_title, coalesce(p_metadata, '{}'), p_creator_principal, n.now, n.now
      from (select clock_timestamp() offset 0) n (now)  -- once, for both
    on conflict (tenant_id, id) do nothing
    returning s.sid
  ), head as (
    insert into starcite.session_heads (sid, chain_hash)
    select c.sid, starcite.genesis_hash(p_tenant_id, p_id) from created c
  )
  select c.sid from created c
$$;
