-- Gives up a session that is set aside (starcite.set_aside): the next pass of the tiering job moves its events up to
-- now to cold storage as they are. This repairs nothing: the record of the damage stays, and so does what
-- verification finds. It is for damage that cannot be repaired, so that the session's events need not stay in
-- Postgres for ever.
--
-- Returns one of
--   given_up             (also when it was given up before: the earlier record is unchanged)
--   session_not_found
--   not_set_aside
--   cannot_be_given_up   the log has an event twice: delete the surplus row
create or replace function starcite.give_up_session(
  p_tenant_id text, p_session_id text, p_reason text, p_subject text default session_user)
returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_sid bigint;
  v_found starcite.set_aside;
begin
  select s.sid into v_sid from starcite.sessions s where s.tenant_id = p_tenant_id and s.id = p_session_id;
  if not found then
    return 'session_not_found';
  end if;
  select a.* into v_found from starcite.set_aside a where a.sid = v_sid and a.ended_at is null for update;
  if not found then
    return 'not_set_aside';
  elsif v_found.reason = 'duplicate' then
    return 'cannot_be_given_up';
  end if;
  update starcite.set_aside a
     set given_up_at = clock_timestamp(), given_up_by = p_subject, given_up_why = p_reason,
         given_up_through = greatest(v_found.seq,
                                     (select max(h.last_seq) from starcite.session_heads h where h.sid = v_sid),
                                     (select max(e.seq) from starcite.events e where e.sid = v_sid))
   where a.set_aside_id = v_found.set_aside_id and a.given_up_at is null;
  return 'given_up';
end
$$;
