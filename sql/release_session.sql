-- Ends a legal hold. Retention no longer skips the session. Returns released, or not_held. The record has who
-- released it: the setting starcite.actor, or the login.
create or replace function starcite.release_session(p_tenant_id text, p_session_id text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_sid bigint;
begin
  delete from starcite.legal_holds l
   using starcite.sessions s
   where s.tenant_id = p_tenant_id and s.id = p_session_id and l.sid = s.sid
  returning l.sid into v_sid;
  if v_sid is null then
    return 'not_held';
  end if;
  insert into starcite.legal_hold_changes (sid, tenant_id, kind, subject, request_id)
  values (v_sid, p_tenant_id, 'released', coalesce(nullif(current_setting('starcite.actor', true), ''), session_user),
          nullif(current_setting('starcite.request_id', true), ''));
  update starcite.erasures e set state = 'pending', completed_at = null, rechecked = false, done_object_id = 0
   where e.kind = 'segment' and e.tenant_id = p_tenant_id
     and e.segment in (select o.segment from starcite.slices s join starcite.objects o on o.object_id = s.object_id
                        where s.sid = v_sid);
  return 'released';
end
$$;
