-- Sets what is erased by age: for one tenant, or, with a null tenant, for all tenants without a rule of their own. A
-- tenant's rule replaces the default as a whole, so a rule of two nulls keeps everything; starcite.set_retention(t,
-- null, null, true) deletes the rule. starcite.sessions_due() and starcite.segments_due() show what the present rules
-- would erase.
create or replace function starcite.set_retention(
  p_tenant_id text, p_content_after interval, p_session_after interval, p_remove boolean default false)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_hot interval;
begin
  if p_content_after <= interval '0' or p_session_after <= interval '0' then
    raise exception 'retention must be longer than nothing' using errcode = 'invalid_parameter_value';
  end if;
  select s.value::interval into strict v_hot from starcite.settings s where s.name = 'hot_retention';
  if p_content_after < v_hot then
    raise exception 'content is erased by age in cold storage only, and events stay hot for %', v_hot
      using errcode = 'invalid_parameter_value', hint = 'Keep it longer, or make STARCITE_HOT_RETENTION shorter.';
  end if;
  delete from starcite.retention_rules r where r.tenant_id is not distinct from p_tenant_id;
  if not p_remove then
    insert into starcite.retention_rules (tenant_id, content_after, session_after)
    values (p_tenant_id, p_content_after, p_session_after);
  end if;
end
$$;
