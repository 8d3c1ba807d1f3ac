-- Appends many events, of any sessions, in one call: the one place where seq, expected_seq and dedupe are decided.
--
-- Item k of every array is event k; events of one session are appended in that order. p_batches makes batches: adjacent
-- events of one session with the same number are all stored or none; null is no batch.
--
-- Returns one row per event. A refusal is a row too, never an exception, so one bad event does not roll back the others:
--   outcome               seq            expected
--   appended              its seq                                 inserted_at, null otherwise, is its time
--   deduped               the original's                          a retry of an event that is stored already
--   session_not_found
--   session_erased
--   producer_replay_conflict                                      producer_seq was already used for a different event
--   producer_seq_conflict                the producer_seq that would be accepted
--   expected_seq_conflict                                         last_seq is the session's current seq
--   batch_refused                                                 another event of its batch was refused
-- last_seq is the session's after this event, or at its refusal. A refused event consumes no seq. The seqs of a refused
-- batch are taken back; expected and last_seq then are the values that the event needed at its position in the batch.
-- Null metadata or refs are stored as '{}'. p_subjects has the token's subject, for events that a token appends in the
-- name of another actor.
--
-- `set local starcite.notify = off` sends no notifications: while the server's notification queue is full, no transaction
-- that notifies can commit. Tails then poll.
--
-- Locks: the heads of all named sessions, in sid order, until commit, so calls can wait for one another but never
-- deadlock. Sessions are looked up, locked and read in three statements: the read sees what earlier holders of the lock
-- committed, and a session that was created after the lookup counts as not found, because its head is not locked.
create or replace function starcite.append_events(
  p_tenant_ids text[], p_session_ids text[], p_types text[], p_payloads json[], p_actors text[], p_sources text[],
  p_producer_ids text[], p_producer_seqs bigint[], p_idempotency_keys text[], p_metadata json[], p_refs json[],
  p_expected_seqs bigint[], p_batches int[], p_subjects text[])
returns table (ordinal int, outcome text, sid bigint, seq bigint, last_seq bigint, expected bigint, inserted_at text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan  -- every lookup is by key: a custom plan for each call would be no better
set enable_seqscan = off  -- nor would sequential scans of small tables, one for each event, which their statistics suggest
set enable_hashjoin = off
set enable_mergejoin = off
set lock_timeout = '2s'  -- a session that a long transaction holds is an error, not an endless queue
as $$
#variable_conflict use_column
declare
  -- The step by which a session's times advance while the clock is behind them.
  c_tick constant interval := interval '1 microsecond';
  -- The prefixes of the previous hash and of the content's digest in form 2 of starcite.chained_hash.
  c_before_hash constant bytea := bytea '36:starcite hash chain event, version 2' || bytea '32:';
  c_before_digest constant bytea := '32:';
  c_chain_version constant smallint := 2;
  v_count constant int := coalesce(cardinality(p_session_ids), 0);
  v_now timestamptz;
  v_wire_now text;
  v_segment_from timestamptz;
  v_segment_to timestamptz;
  v_head starcite.session_heads;
  v_salt bytea;
  v_digest bytea;
  v_metadata json;
  v_refs json;
  r record;
  -- The order in which events are decided, and by event: its content's digest, and its other fields as the chain hashes them.
  v_order int[];
  v_salts bytea[];
  v_content_digests bytea[];
  v_fields text[];
  -- decided, by event; last_seqs only where it is not the event's own seq
  v_outcomes text[] := array_fill('appended'::text, array[v_count]);
  v_sids bigint[];
  v_seqs bigint[] := array_fill(null::bigint, array[v_count]);
  v_last_seqs bigint[] := array_fill(null::bigint, array[v_count]);
  v_expected bigint[];
  v_times timestamptz[] := array_fill(null::timestamptz, array[v_count]);
  v_wire_times text[] := array_fill(null::text, array[v_count]);
  v_hashes bytea[] := array_fill(null::bytea, array[v_count]);
  -- Producers, by event; null when the call has none: the stored row of the event's producer, the key that identifies the
  -- event's content, and the producer's previous event of this call.
  v_stored_producer_seqs bigint[];
  v_stored_seqs bigint[];
  v_stored_digests bytea[];
  v_digests bytea[];
  v_previous_of_producer int[];
  -- The producer's newest event of this call, before and after each event, by ordinal; null: the row in producers counts.
  -- An event that was refused later, with its batch, is skipped in the lookup.
  v_newest_before int[];
  v_newest_after int[];
  -- the heads, in sid order like the loop: as they were locked, and at the end as they are to be stored
  v_heads int := 0;
  v_head_sids bigint[];
  v_head_seqs bigint[];
  v_head_hashes bytea[];
  v_head_times timestamptz[];
  v_head_erased boolean[];
  -- the session and the batch of the current event
  v_sid bigint;
  v_last_seq bigint;
  v_hash bytea;
  v_at timestamptz;
  v_wire_at text;
  v_framed_at text;
  v_erased boolean;
  v_batch int;
  v_batch_events int[];
  v_batch_last_seq bigint;
  v_batch_hash bytea;
  v_batch_expected_seq bigint;
  v_batch_refused boolean;
  -- the current event
  v_o int;
  v_outcome text;
  v_newest int;
  v_older int;
  v_known_producer_seq bigint;
  v_original_seq bigint;
  v_original_digest bytea;
  v_expected_seq bigint;
  v_event int;
  v_hint text := '';
  v_notifies constant boolean := current_setting('starcite.notify', true) is distinct from 'off';
begin
  -- A single event without a producer is by far the most frequent call, and its latency matters most. It takes the same
  -- decisions in plain statements, because setting up the plans for sets costs more than running them.
  if v_count = 1 and p_producer_ids[1] is null then
    select h.* into v_head
      from starcite.sessions s join starcite.session_heads h on h.sid = s.sid
     where s.tenant_id = p_tenant_ids[1] and s.id = p_session_ids[1]
       for no key update of h;
    ordinal := 1;
    sid := v_head.sid;
    last_seq := v_head.last_seq;
    outcome := case when v_head.sid is null then 'session_not_found'
                    when v_head.erased then 'session_erased'
                    when p_expected_seqs[1] <> v_head.last_seq then 'expected_seq_conflict'
                    else 'appended' end;
    if outcome = 'appended' then
      select greatest(clock_timestamp(), s.value::timestamptz, v_head.last_event_at + c_tick) into strict v_at
        from starcite.settings s where s.name = 'closed_before';
      perform starcite.ensure_segment(v_at)
        where not exists (select from starcite.segments s where tstzrange(s.from_at, s.to_at) @> v_at);
      last_seq := v_head.last_seq + 1;
      seq := last_seq;
      inserted_at := starcite.wire_time(v_at);
      v_salt := uuid_send(gen_random_uuid());
      v_metadata := coalesce(p_metadata[1], '{}');
      v_refs := coalesce(p_refs[1], '{}');
      v_digest := starcite.content_digest(v_salt, p_payloads[1], v_metadata, v_refs);
      v_hash := sha256(c_before_hash || v_head.chain_hash || c_before_digest || v_digest  -- starcite.chain_link
        || convert_to(starcite.framed(last_seq::text) || starcite.framed(inserted_at)
                      || starcite.event_fields(p_types[1], p_actors[1], p_sources[1], null, null, p_idempotency_keys[1])
                      || starcite.framed(p_subjects[1]), 'UTF8'));
      insert into starcite.events (sid, seq, inserted_at, type, actor, source, idempotency_key, payload, metadata, refs,
                                   salt, content_digest, hash, subject, chain_version)
      values (v_head.sid, last_seq, v_at, p_types[1], p_actors[1], p_sources[1], p_idempotency_keys[1], p_payloads[1],
              v_metadata, v_refs, v_salt, v_digest, v_hash, p_subjects[1], c_chain_version);
      update starcite.session_heads h set last_seq = v_head.last_seq + 1, chain_hash = v_hash, last_event_at = v_at
       where h.sid = v_head.sid;
      perform pg_notify('starcite_heads', '[[' || v_head.sid || ',' || v_head.last_seq + 1 || ']]')
        where v_notifies;
    end if;
    return next;
    return;
  end if;

  v_sids := array(
    select (select s.sid from starcite.sessions s where s.tenant_id = p_tenant_ids[o] and s.id = p_session_ids[o])
      from generate_series(1, v_count) o order by o);

  with locked as (
    select h.* from starcite.session_heads h where h.sid = any (v_sids) order by h.sid for no key update
  )
  select array_agg(h.sid), array_agg(h.last_seq), array_agg(h.chain_hash), array_agg(h.last_event_at),
         array_agg(h.erased)
    into v_head_sids, v_head_seqs, v_head_hashes, v_head_times, v_head_erased
    from locked h;

  -- Never into a segment that is being moved, even when the clock has gone back.
  select n.now, starcite.wire_time(n.now), g.from_at, g.to_at into strict v_now, v_wire_now, v_segment_from, v_segment_to
    from (select greatest(clock_timestamp(), s.value::timestamptz) as now
            from starcite.settings s where s.name = 'closed_before') n
    left join starcite.segments g on tstzrange(g.from_at, g.to_at) @> n.now;

  if cardinality(array_remove(p_producer_ids, null)) > 0 then
    select array_agg(p.producer_seq order by i.o), array_agg(p.seq order by i.o), array_agg(p.digest order by i.o),
           array_agg(i.digest order by i.o), array_agg(i.previous order by i.o)
      into v_stored_producer_seqs, v_stored_seqs, v_stored_digests, v_digests, v_previous_of_producer
      from (select i.o, i.sid, i.producer_id,
                   case when i.producer_id is not null
                        then starcite.content_key(i.type, i.actor, i.source, i.idempotency_key, i.payload,
                                                  coalesce(i.metadata, '{}'), coalesce(i.refs, '{}'))
                    end as digest,
                   case when i.producer_id is not null
                        then lag(i.o) over (partition by i.sid, i.producer_id order by i.o)
                    end::int as previous
              from unnest(v_sids, p_types, p_payloads, p_actors, p_sources, p_producer_ids, p_idempotency_keys,
                          p_metadata, p_refs) with ordinality
                     as i (sid, type, payload, actor, source, producer_id, idempotency_key, metadata, refs, o)) i
      left join lateral (select p.producer_seq, p.seq, p.digest from starcite.producers p
                          where p.sid = i.sid and p.producer_id = i.producer_id limit 1) p on true;
    v_expected := array_fill(null::bigint, array[v_count]);
    v_newest_before := array_fill(null::int, array[v_count]);
    v_newest_after := array_fill(null::int, array[v_count]);
  end if;

  v_order := array(select o from generate_series(1, v_count) o order by v_sids[o] nulls last, o);
  v_salts := array(select uuid_send(gen_random_uuid()) from generate_series(1, v_count));
  select array_agg(starcite.content_digest(v_salts[o], p_payloads[o], coalesce(p_metadata[o], '{}'),
                                           coalesce(p_refs[o], '{}')) order by o),
         array_agg(starcite.event_fields(p_types[o], p_actors[o], p_sources[o], p_producer_ids[o], p_producer_seqs[o],
                                         p_idempotency_keys[o]) || starcite.framed(p_subjects[o]) order by o)
    into v_content_digests, v_fields
    from generate_series(1, v_count) o;

  foreach v_o in array v_order loop
    if v_sids[v_o] is distinct from v_sid or v_heads = 0 then
      if v_sid is not null then
        v_head_seqs[v_heads] := v_last_seq;
        v_head_hashes[v_heads] := v_hash;
      end if;
      v_heads := v_heads + 1;  -- past the last head for events of no session, which come last
      v_sid := v_sids[v_o];
      v_last_seq := v_head_seqs[v_heads];
      v_hash := v_head_hashes[v_heads];
      v_at := greatest(v_now, v_head_times[v_heads] + c_tick);
      v_wire_at := case when v_at = v_now then v_wire_now else starcite.wire_time(v_at) end;
      v_framed_at := starcite.framed(v_wire_at);
      v_erased := v_head_erased[v_heads];
      v_head_times[v_heads] := v_at;
      v_batch := null;
      v_batch_expected_seq := null;
      v_batch_refused := false;
    end if;
    if p_batches[v_o] is distinct from v_batch then
      v_batch := p_batches[v_o];
      v_batch_events := '{}';
      v_batch_last_seq := v_last_seq;
      v_batch_hash := v_hash;
      v_batch_expected_seq := null;
      v_batch_refused := false;
    end if;

    v_outcome := 'appended';
    if v_digests is not null then
      v_newest := null;
      v_known_producer_seq := null;
      if p_producer_ids[v_o] is not null then
        v_newest := v_newest_after[v_previous_of_producer[v_o]];
        while v_outcomes[v_newest] <> 'appended' loop
          v_newest := v_newest_before[v_newest];
        end loop;
        v_known_producer_seq :=
          case when v_newest is null then v_stored_producer_seqs[v_o] else p_producer_seqs[v_newest] end;
      end if;
    end if;
    -- An expected_seq on a deduped event still applies to the rest of its batch.
    v_expected_seq := coalesce(p_expected_seqs[v_o], v_batch_expected_seq);
    v_batch_expected_seq := null;

    if v_batch_refused then
      v_outcome := 'batch_refused';
    elsif v_sid is null then
      v_outcome := 'session_not_found';
    elsif v_erased then
      v_outcome := 'session_erased';
    elsif p_producer_seqs[v_o] <= v_known_producer_seq then
      -- Find the event with that producer_seq: in this call, the producer's latest stored one, or one that is still hot.
      v_original_seq := null;
      v_older := v_newest;
      while p_producer_seqs[v_older] > p_producer_seqs[v_o] loop
        v_older := v_newest_before[v_older];
        while v_outcomes[v_older] <> 'appended' loop
          v_older := v_newest_before[v_older];
        end loop;
      end loop;
      if v_older is not null then
        v_original_seq := v_seqs[v_older];
        v_original_digest := v_digests[v_older];
      elsif p_producer_seqs[v_o] = v_stored_producer_seqs[v_o] then
        v_original_seq := v_stored_seqs[v_o];
        v_original_digest := v_stored_digests[v_o];
      else
        select e.seq,
               starcite.content_key(e.type, e.actor, e.source, e.idempotency_key, e.payload, e.metadata, e.refs)
          into v_original_seq, v_original_digest
          from starcite.events e
         where e.sid = v_sid and e.producer_id = p_producer_ids[v_o] and e.producer_seq = p_producer_seqs[v_o];
      end if;
      if v_original_seq is null then
        v_outcome := 'producer_seq_conflict';
      elsif v_original_digest = v_digests[v_o] then
        v_outcome := 'deduped';
        v_seqs[v_o] := v_original_seq;
        if v_batch is not null then
          v_batch_expected_seq := v_expected_seq;
        end if;
      else
        v_outcome := 'producer_replay_conflict';
      end if;
    elsif p_producer_seqs[v_o] > v_known_producer_seq + 1 then
      v_outcome := 'producer_seq_conflict';
    elsif v_expected_seq <> v_last_seq then
      v_outcome := 'expected_seq_conflict';
    end if;

    if v_outcome = 'appended' then
      v_last_seq := v_last_seq + 1;
      v_hash := sha256(c_before_hash || v_hash || c_before_digest || v_content_digests[v_o]  -- starcite.chain_link
        || convert_to(starcite.framed(v_last_seq::text) || v_framed_at || v_fields[v_o], 'UTF8'));
      v_seqs[v_o] := v_last_seq;
      v_times[v_o] := v_at;
      v_wire_times[v_o] := v_wire_at;
      v_hashes[v_o] := v_hash;
    else
      v_outcomes[v_o] := v_outcome;
      v_last_seqs[v_o] := v_last_seq;
      if v_outcome = 'producer_seq_conflict' then
        v_expected[v_o] := v_known_producer_seq + 1;
      end if;
      -- A refusal takes back the seqs of its batch.
      if v_batch is not null and v_outcome not in ('deduped', 'batch_refused') then
        foreach v_event in array v_batch_events loop
          v_outcomes[v_event] := 'batch_refused';
          v_seqs[v_event] := null;
          v_last_seqs[v_event] := v_batch_last_seq;
          v_times[v_event] := null;
          v_wire_times[v_event] := null;
        end loop;
        v_last_seq := v_batch_last_seq;
        v_hash := v_batch_hash;
        v_batch_refused := true;
      end if;
    end if;
    if v_digests is not null and p_producer_ids[v_o] is not null then
      v_newest_before[v_o] := v_newest;
      v_newest_after[v_o] := case when v_outcome = 'appended' then v_o else v_newest end;
    end if;
    if v_batch is not null then
      v_batch_events := v_batch_events || v_o;
    end if;
  end loop;
  if v_sid is not null then
    v_head_seqs[v_heads] := v_last_seq;
    v_head_hashes[v_heads] := v_hash;
  end if;

  if 'appended' = any (v_outcomes) then
    -- Nearly always the current segment, which exists.
    for i in 1 .. cardinality(v_head_sids) loop
      v_at := v_head_times[i];
      if (v_at >= v_segment_from and v_at < v_segment_to) is not true then
        perform starcite.ensure_segment(v_at) where v_at = any (v_times);
      end if;
    end loop;

    insert into starcite.events (sid, seq, inserted_at, producer_seq, type, actor, source, producer_id,
                                 idempotency_key, payload, metadata, refs, salt, content_digest, hash, subject,
                                 chain_version)
    select v_sids[o], v_seqs[o], v_times[o], p_producer_seqs[o], p_types[o], p_actors[o], p_sources[o],
           p_producer_ids[o], p_idempotency_keys[o], p_payloads[o], coalesce(p_metadata[o], '{}'),
           coalesce(p_refs[o], '{}'), v_salts[o], v_content_digests[o], v_hashes[o], p_subjects[o], c_chain_version
      from generate_series(1, v_count) o
     where v_outcomes[o] = 'appended';

    if v_digests is not null then
      insert into starcite.producers as p (sid, producer_id, producer_seq, seq, digest)
      select distinct on (i.sid, i.producer_id) i.sid, i.producer_id, i.producer_seq, i.seq, i.digest
        from unnest(v_outcomes, v_sids, v_seqs, v_digests, p_producer_ids, p_producer_seqs)
               as i (outcome, sid, seq, digest, producer_id, producer_seq)
       where i.outcome = 'appended' and i.producer_id is not null
       order by i.sid, i.producer_id, i.seq desc
          on conflict (sid, producer_id) do update
         set producer_seq = excluded.producer_seq, seq = excluded.seq, digest = excluded.digest;
    end if;

    for r in
      update starcite.session_heads h
         set last_seq = i.seq, chain_hash = i.hash, last_event_at = i.at
        from unnest(v_head_sids, v_head_seqs, v_head_hashes, v_head_times) as i (sid, seq, hash, at)
       where h.sid = i.sid and h.last_seq < i.seq
      returning h.sid, h.last_seq
    loop
      v_hint := v_hint || ',[' || r.sid || ',' || r.last_seq || ']';
      -- Postgres refuses a payload of 8,000 bytes or more, and a pair has at most 42.
      if length(v_hint) > 7900 then
        perform pg_notify('starcite_heads', '[' || substr(v_hint, 2) || ']') where v_notifies;
        v_hint := '';
      end if;
    end loop;
    if v_hint <> '' then
      perform pg_notify('starcite_heads', '[' || substr(v_hint, 2) || ']') where v_notifies;
    end if;
  end if;

  return query
    select o, v_outcomes[o], v_sids[o], v_seqs[o], coalesce(v_last_seqs[o], v_seqs[o]), v_expected[o], v_wire_times[o]
      from generate_series(1, v_count) o;
end
$$;

-- The same without subjects: the signature of earlier releases, which stays.
create or replace function starcite.append_events(
  p_tenant_ids text[], p_session_ids text[], p_types text[], p_payloads json[], p_actors text[], p_sources text[],
  p_producer_ids text[], p_producer_seqs bigint[], p_idempotency_keys text[], p_metadata json[], p_refs json[],
  p_expected_seqs bigint[], p_batches int[])
returns table (ordinal int, outcome text, sid bigint, seq bigint, last_seq bigint, expected bigint, inserted_at text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return query
    select * from starcite.append_events(
      p_tenant_ids, p_session_ids, p_types, p_payloads, p_actors, p_sources, p_producer_ids, p_producer_seqs,
      p_idempotency_keys, p_metadata, p_refs, p_expected_seqs, p_batches, null);
end
$$;
