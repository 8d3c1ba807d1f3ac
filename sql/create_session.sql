-- Creates a session and the head of its log. Returns its sid, or null when the tenant has a session of that id (also
-- an erased one: an id is never used twice). An id that cannot be part of an address raises 22023, with the reason;
-- one of no bytes, or of more than 256, and metadata that is not an object violate a constraint of the table. These
-- are checked before the row is: otherwise Postgres would write the whole row, with title and metadata, to its own
-- log.
create or replace function starcite.create_session(
  p_tenant_id text, p_id text, p_title text default null, p_metadata json default '{}',
  p_creator_principal json default null)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  c_control constant text := format('[%s-%s%s-%s]', chr(1), chr(31), chr(127), chr(159));
  v_problem text := case
    when p_id ~ c_control then 'must not contain control characters'
    when p_id in ('.', '..') then format('must not be %s: in an address it names another place', p_id)
  end;
  v_violated text := case
    when octet_length(p_id) not between 1 and 256 then 'sessions_id_is_1_to_256_bytes'
    when json_typeof(p_metadata) <> 'object' then 'sessions_metadata_is_an_object'
  end;
  v_sid bigint;
begin
  if p_tenant_id is null or p_id is null then
    raise exception 'starcite.create_session: tenant_id and id must not be null' using errcode = 'not_null_violation';
  end if;
  if v_violated is not null then
    raise exception 'starcite.create_session: a value violates the constraint %', v_violated
      using errcode = 'check_violation', table = 'sessions', constraint = v_violated;
  end if;
  if v_problem is not null then
    raise exception 'starcite.create_session: id %', v_problem using errcode = 'invalid_parameter_value';
  end if;
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
  select c.sid into v_sid from created c;
  return v_sid;
end
$$;
