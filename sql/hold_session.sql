-- Puts a session under a legal hold: until starcite.release_session it cannot be erased, none of its events redacted,
-- and retention skips it. Returns held (also when it was held already), session_not_found, or session_erased.
create or replace function starcite.hold_session(
  p_tenant_id text, p_session_id text, p_reason text, p_subject text default session_user)
returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_head starcite.session_heads;
begin
  v_head := starcite.lock_head(p_tenant_id, p_session_id); -- waits for an erasure in progress, or precedes it
  if v_head.sid is null then
    return 'session_not_found';
  elsif v_head.erased then
    return 'session_erased';
  end if;
  insert into starcite.legal_holds (sid, subject, reason) values (v_head.sid, p_subject, p_reason)
      on conflict (sid) do nothing;
  if found then
    insert into starcite.legal_hold_changes (sid, tenant_id, kind, subject, request_id, reason)
    values (v_head.sid, p_tenant_id, 'held', p_subject, nullif(current_setting('starcite.request_id', true), ''), p_reason);
  end if;
  return 'held';
end
$$;
