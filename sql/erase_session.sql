-- Erases a session: from this transaction's commit on every call returns session_erased. The tiering job removes the
-- content of its events soon after, and the erasure reports its progress.
--
-- Returns one row:
--   outcome            id
--   erased             the new erasure
--   already_erased     the earlier erasure, which is unchanged
--   session_not_found
--   legal_hold
--
-- The settings starcite.actor and starcite.request_id say who requests it, unless the arguments do.
--
-- Locks the session's head, so an append is before it (and erased) or after it (and refused); then the session.
create or replace function starcite.erase_session(
  p_tenant_id text, p_session_id text, p_subject text default null, p_request_id text default null,
  p_reason text default null, p_vacuum boolean default false,
  out outcome text, out id uuid)
language plpgsql security definer set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  c_actor_before constant text := current_setting('starcite.actor', true);
  c_request_id_before constant text := current_setting('starcite.request_id', true);
  c_subject constant text := coalesce(p_subject, nullif(c_actor_before, ''));
  c_request_id constant text := coalesce(p_request_id, nullif(c_request_id_before, ''));
  v_head starcite.session_heads;
begin
  v_head := starcite.lock_head(p_tenant_id, p_session_id);
  if v_head.sid is null then
    outcome := 'session_not_found';
    return;
  end if;
  select e.id into id from starcite.erasures e where e.sid = v_head.sid and e.kind = 'session';
  if found then
    outcome := 'already_erased';
    return;
  end if;
  if exists (select from starcite.legal_holds l where l.sid = v_head.sid) then
    outcome := 'legal_hold';
    return;
  end if;

  -- Sets the actor for the record of session changes, and restores it for the rest of the caller's transaction.
  perform set_config('starcite.actor', coalesce(c_subject, ''), true),
          set_config('starcite.request_id', coalesce(c_request_id, ''), true);
  update starcite.sessions s
     set erased_at = clock_timestamp(), title = null, metadata = '{}', creator_principal = null,
         version = s.version + 1, updated_at = greatest(clock_timestamp(), s.updated_at)
   where s.sid = v_head.sid;
  perform set_config('starcite.actor', coalesce(c_actor_before, ''), true),
          set_config('starcite.request_id', coalesce(c_request_id_before, ''), true);
  -- Digests without a salt would confirm guesses of the content, and there are no more appends to compare.
  delete from starcite.producers p where p.sid = v_head.sid;
  update starcite.loaded_events l set payload = null, metadata = null, refs = null, salt = null
   where l.sid = v_head.sid and l.salt is not null;

  insert into starcite.erasures as e (kind, tenant_id, sid, first_seq, last_seq, chain_hash, subject, request_id, reason, vacuum)
  values ('session', p_tenant_id, v_head.sid, 1, v_head.last_seq, v_head.chain_hash, c_subject, c_request_id, p_reason,
          coalesce(p_vacuum, false))
  returning e.id into id;
  perform starcite.content_removed(array[v_head.sid]);
  outcome := 'erased';
end
$$;
