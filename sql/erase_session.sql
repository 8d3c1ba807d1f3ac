-- Erases a session: from this transaction's commit on every call answers session_erased. The content of its events is
-- removed by the tiering job soon after, and the erasure says how far that is.
--
-- Returns one row:
--   outcome            id
--   erased             of the new erasure
--   already_erased     of the one that erased it, which stands as it was asked for
--   session_not_found
--   legal_hold
--
-- Who asks, and by which request, is what the settings starcite.actor and starcite.request_id say, unless it is given.
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

  -- For the record of what is done to sessions; what the caller does after this is done in the caller's own name again.
  perform set_config('starcite.actor', coalesce(c_subject, ''), true),
          set_config('starcite.request_id', coalesce(c_request_id, ''), true);
  update starcite.sessions s
     set erased_at = clock_timestamp(), title = null, metadata = '{}', creator_principal = null,
         version = s.version + 1, updated_at = greatest(clock_timestamp(), s.updated_at)
   where s.sid = v_head.sid;
  perform set_config('starcite.actor', coalesce(c_actor_before, ''), true),
          set_config('starcite.request_id', coalesce(c_request_id_before, ''), true);
  -- Digests without a salt would confirm guesses of what was written; and nobody appends here any more.
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
