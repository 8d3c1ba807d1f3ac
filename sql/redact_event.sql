-- Erases the content of one event: from this transaction's commit on the event is shown with `payload: {}` and
-- `redacted: true`. Content in objects is hidden at once, and removed by the tiering job soon after.
--
-- Returns one row:
--   outcome            id
--   redacted           the new erasure
--   already_redacted   the earlier erasure
--   session_not_found, session_erased, legal_hold
--   event_not_found
--
-- The settings starcite.actor and starcite.request_id say who requests it, unless the arguments do.
--
-- Locks the session's head: seqs, times and the chain do not change, but retries are compared under that lock.
create or replace function starcite.redact_event(
  p_tenant_id text, p_session_id text, p_seq bigint, p_subject text default null, p_request_id text default null,
  p_reason text default null, p_vacuum boolean default false,
  out outcome text, out id uuid)
language plpgsql security definer set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  c_subject constant text := coalesce(p_subject, nullif(current_setting('starcite.actor', true), ''));
  c_request_id constant text := coalesce(p_request_id, nullif(current_setting('starcite.request_id', true), ''));
  v_head starcite.session_heads;
  v_hot_events bigint;
begin
  v_head := starcite.lock_head(p_tenant_id, p_session_id);
  outcome := case when v_head.sid is null then 'session_not_found'
                  when v_head.erased then 'session_erased'
                  when p_seq between 1 and v_head.last_seq is not true then 'event_not_found' end;
  if outcome is not null then
    return;
  end if;
  select e.id into id from starcite.erasures e where e.sid = v_head.sid and e.first_seq = p_seq and e.kind = 'event';
  if found then
    outcome := 'already_redacted';
    return;
  end if;
  if exists (select from starcite.legal_holds l where l.sid = v_head.sid) then
    outcome := 'legal_hold';
    return;
  end if;

  -- Also in a closed segment: its constraint lets rows without a salt pass.
  update starcite.events e set payload = null, metadata = null, refs = null, salt = null
   where e.sid = v_head.sid and e.seq = p_seq and e.salt is not null;
  get diagnostics v_hot_events = row_count;
  -- A digest without a salt would confirm guesses of the content. No event has an empty digest, so a retry is refused
  -- as a different event.
  update starcite.producers p set digest = '' where p.sid = v_head.sid and p.seq = p_seq;
  update starcite.loaded_events l set payload = null, metadata = null, refs = null, salt = null
   where l.sid = v_head.sid and l.seq = p_seq and l.salt is not null;

  insert into starcite.erasures as e (kind, tenant_id, sid, first_seq, last_seq, hot_events, subject, request_id, reason, vacuum)
  values ('event', p_tenant_id, v_head.sid, p_seq, p_seq, v_hot_events, c_subject, c_request_id, p_reason,
          coalesce(p_vacuum, false))
  returning e.id into id;
  perform starcite.content_removed(array[v_head.sid]);
  outcome := 'redacted';
end
$$;
