-- A key of this installation for one purpose: 32 bytes that only the owner and nodes can compute. The same purpose
-- has the same key in every session, on every node, and after a restore. Two databases have different keys.
create or replace function starcite.secret_key(p_purpose text) returns bytea
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select sha256(s.secret || convert_to(p_purpose, 'UTF8')) from starcite.installation_secret s
$$;
