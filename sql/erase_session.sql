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
-- Locks the session's head, so an append is before it (and erased) or after it (and refused); then the session.
create or replace function starcite.erase_session(
  p_tenant_id text, p_session_id text, p_subject text default null, p_request_id text default null,
  p_reason text default null, p_vacuum boolean default false,
  out outcome text, out id uuid)
language plpgsql security definer set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_head starcite.session_heads;
begin
  select h.* into v_head
    from starcite.sessions s join starcite.session_heads h on h.sid = s.sid
   where s.tenant_id = p_tenant_id and s.id = p_session_id
     for no key update of h;
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

  -- For the record of what is done to sessions.
  perform set_config('starcite.actor', coalesce(p_subject, ''), true),
          set_config('starcite.request_id', coalesce(p_request_id, ''), true);
  update starcite.sessions s
     set erased_at = clock_timestamp(), title = null, metadata = '{}', creator_principal = null,
         version = s.version + 1, updated_at = greatest(clock_timestamp(), s.updated_at)
   where s.sid = v_head.sid;
  -- Digests without a salt would confirm guesses of what was written; and nobody appends here any more.
  delete from starcite.producers p where p.sid = v_head.sid;
  update starcite.loaded_events l set payload = null, metadata = null, refs = null, salt = null
   where l.sid = v_head.sid and l.salt is not null;

  insert into starcite.erasures as e (kind, tenant_id, sid, first_seq, last_seq, chain_hash, subject, request_id, reason, vacuum)
  values ('session', p_tenant_id, v_head.sid, 1, v_head.last_seq, v_head.chain_hash, p_subject, p_request_id, p_reason,
          coalesce(p_vacuum, false))
  returning e.id into id;
  perform starcite.content_removed(array[v_head.sid]);
  outcome := 'erased';
end
$$;
