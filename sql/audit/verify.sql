-- Recomputes the hash chain over the events of a session that are in Postgres. Returns one row:
--   ok            whether everything that was verified is right; null when nothing was: every event is cold
--   events        how many events were verified: all, or those before the first that is wrong
--   wrong_seq     the first seq that is wrong; null when ok
--   reason        why, null when ok:
--                   missing    no event has that seq
--                   duplicate  an event has a seq that another has, or that is cold already
--                   changed    payload, metadata or refs do not match its content_digest, or are gone without an erasure
--                   broken     its hash does not follow: another field of it, or its content_digest, was edited, or events
--                              were swapped, inserted or removed and renumbered; or the form of its hash (chain_version)
--                              is an older one than that of the event before
--                   head       the session's head is not where its events end
--   from_seq      first and
--   to_seq        last event that should be in Postgres, as of the beginning of the call; null when none should
--   anchored      whether the chain was verified from the session's beginning. False when earlier events are cold: the first
--                 in Postgres then has to follow the hash that was verified and recorded when the last cold one was moved.
--                 When an older release moved it, no hash is recorded, and the chain is verified from the first on
--   chain_hash    the hash of the session's head: compare an external anchor with it
--   cold_events   how many events were not verified, because they are in objects: the first ones of the session
-- A session that does not exist, and one of a tenant that the caller may not read, raise SC404 alike. `ok` says
-- nothing about cold events, nor about a log of which everything was rewritten (docs/audit.md).
--
-- One statement reads everything, so concurrent appends, moves and erasures do not matter. A finding is checked again before
-- it is reported, because the statement may have been planned before a segment was created. An isolation level stricter than
-- read committed allows no second check: a segment that has moved since then is a serialization failure.
create or replace function audit.verify(
  p_tenant text, p_session text,
  out ok boolean, out events bigint, out wrong_seq bigint, out reason text, out from_seq bigint, out to_seq bigint,
  out anchored boolean, out chain_hash bytea, out cold_events bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  c_reasons constant text[] := '{missing,duplicate,changed,broken,head}';
  c_attempts constant int := 5;
  c_before_hash constant bytea := bytea '36:starcite hash chain event, version 2' || bytea '32:';
  c_before_digest constant bytea := '32:';
  -- current_user is the owner here.
  v_caller constant text := coalesce(nullif(current_setting('role'), 'none'), session_user::text);
  v_sid bigint;
  v_genesis bytea;
  v_cold_seq bigint;
  v_head_seq bigint;
  v_last_seq bigint;
  v_last_hash bytea;
  -- A fault is a number, so that the least is the first: 8 times its seq, plus its place in c_reasons, from 0.
  v_fault bigint;
  v_fault_before bigint;
begin
  select s.sid, starcite.genesis_hash(s.tenant_id, s.id) into v_sid, v_genesis
    from starcite.sessions s
   where s.tenant_id = p_tenant and s.id = p_session
     and (exists (select from starcite.tenant_grants g
                   where (g.tenant_id = p_tenant or g.tenant_id is null) and pg_has_role(v_caller, g.grantee::oid, 'usage'))
          or exists (select from pg_catalog.pg_class c
                      where c.oid = 'starcite.sessions'::regclass and pg_has_role(v_caller, c.relowner, 'usage')));
  if not found then
    raise exception 'session_not_found: tenant % has no session %', p_tenant, p_session using errcode = 'SC404';
  end if;

  for v_attempt in 1 .. c_attempts loop
    v_fault_before := v_fault;
    select h.last_seq, h.chain_hash, c.last_seq, coalesce(l.seq, c.last_seq),
           coalesce(l.hash, c.hash), f.first
      into v_head_seq, chain_hash, v_cold_seq, v_last_seq, v_last_hash, v_fault
      from (select coalesce(d.last_seq, 0) as last_seq, coalesce(d.last_chain_version, 1) as version,
                   case when d.last_seq is null then v_genesis else d.last_hash end as hash
              from (select) one
              left join lateral (
                   select p.last_seq, p.last_hash, p.last_chain_version
                     from starcite.slices p
                     join starcite.objects o on o.object_id = p.object_id
                     join starcite.segments g on g.name = o.segment and g.state in ('moved', 'dropped')
                    where p.sid = v_sid
                    order by p.last_seq desc limit 1) d on true) c
      left join starcite.session_heads h on h.sid = v_sid
      left join (select e.seq, e.hash from starcite.events e where e.sid = v_sid order by e.seq desc limit 1) l on true
     cross join lateral (
            select min(case when w.seq > w.seq_before + 1 then 8 * (w.seq_before + 1)
                            when w.seq <= w.seq_before then 8 * w.seq + 1
                            when not w.content_holds then 8 * w.seq + 2
                            when w.chain_version < w.version_before or octet_length(w.hash) <> 32
                                 or octet_length(w.content_digest) <> 32 then 8 * w.seq + 3
                            -- starcite.chained_hash of starcite.chain_link, of which these are the parts
                            when w.chain_version = 2 then case
                              when sha256(c_before_hash || w.hash_before || c_before_digest || w.content_digest || w.link)
                                   <> w.hash then 8 * w.seq + 3 end
                            when w.chain_version <> 1 or w.subject is not null
                                 or sha256(w.hash_before || w.content_digest || w.link) <> w.hash then 8 * w.seq + 3
                       end) as first
              from (select e.seq, e.hash, e.content_digest, e.content_holds, e.chain_version, e.subject,
                           convert_to(starcite.framed(e.seq::text) || starcite.framed(e.at) || e.fields
                                      || case e.chain_version when 2 then starcite.framed(e.subject) else '' end,
                                      'UTF8') as link,
                           coalesce(lag(e.chain_version) over by_seq, c.version) as version_before,
                           coalesce(lag(e.seq) over by_seq, c.last_seq) as seq_before,
                           -- Null behind a slice without a hash: nothing can differ from it.
                           coalesce(lag(e.hash) over by_seq, c.hash) as hash_before
                      from (select e.seq, e.hash, e.content_digest, e.chain_version, e.subject,
                                   starcite.wire_time(e.inserted_at) as at,
                                   starcite.event_fields(e.type, e.actor, e.source, e.producer_id, e.producer_seq,
                                                         e.idempotency_key) as fields,
                                   case when e.salt is not null
                                        then octet_length(e.salt) = 16
                                             and starcite.content_digest(e.salt, e.payload, e.metadata, e.refs)
                                                 = e.content_digest
                                        else e.payload is null and e.metadata is null and e.refs is null
                                             and (exists (select from starcite.erasures x
                                                           where x.sid = v_sid and x.kind = 'session')
                                                  or exists (select from starcite.erasures x
                                                              where x.sid = v_sid and x.first_seq = e.seq
                                                                and x.kind = 'event'))
                                    end as content_holds
                              from starcite.events e
                             where e.sid = v_sid
                             order by e.seq
                            offset 0) e  -- so that the time is written once, and the window carries no payloads
                    window by_seq as (order by e.seq)) w) f;

    v_fault := least(v_fault, case when v_head_seq > v_last_seq then 8 * (v_last_seq + 1)
                                   when v_head_seq < v_last_seq then 8 * (v_head_seq + 1) + 4
                                   when v_head_seq is null or v_last_hash <> chain_hash then 8 * v_last_seq + 4 end);
    exit when v_fault is null or v_fault = v_fault_before
           or current_setting('transaction_isolation') not in ('read committed', 'read uncommitted');
  end loop;

  if v_fault is distinct from v_fault_before
     and exists (select from starcite.segments g
                  where g.state in ('hot', 'closed') and g.from_at <= clock_timestamp()
                    and coalesce(pg_relation_size(to_regclass(format('starcite.%I', g.name))), 0) = 0) then
    raise exception 'a segment may have moved since this transaction took its snapshot'
      using errcode = 'serialization_failure', hint = 'Verify in a transaction that is read committed.';
  end if;

  ok := case when v_fault is not null then false when v_cold_seq = 0 or v_cold_seq < v_head_seq then true end;
  wrong_seq := v_fault / 8;
  reason := c_reasons[v_fault % 8 + 1];
  events := greatest(coalesce(wrong_seq, v_head_seq + 1) - (v_cold_seq + 1), 0);
  anchored := v_cold_seq = 0;
  cold_events := v_cold_seq;
  if v_cold_seq < v_head_seq then
    from_seq := v_cold_seq + 1;
    to_seq := v_head_seq;
  end if;
end
$$;
