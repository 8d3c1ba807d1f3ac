-- Appends many events, of any sessions, in one call: the one place where seq, expected_seq and dedupe are decided.
--
-- Item k of every array is event k; events of one session are taken in the order in which they stand. p_batches
-- makes events stand or fall together: those of one session that carry the same number, one after the other, are all
-- stored or none; null stands alone.
--
-- Returns one row per event. A refusal is a row too, never an exception, so that one bad event does not undo its
-- neighbours:
--   outcome               seq            expected
--   appended              its seq                                 inserted_at, null otherwise, is its time
--   deduped               the original's                          a retry of an event that is stored already
--   session_not_found
--   session_erased
--   producer_replay_conflict                                      that producer_seq was another event
--   producer_seq_conflict                the producer_seq that would be accepted
--   expected_seq_conflict                                         last_seq is what the session is at
--   batch_refused                                                 another event of its batch was refused
-- last_seq is the session's after this event, or when this event was refused. What is refused consumes nothing; what
-- was given to a batch is taken back, and expected and last_seq then say what would have done at that place of it.
--
-- Locks: the heads of all sessions named, in sid order, until commit. Two calls can wait for one another's heads but
-- never in a circle. Sessions are looked up, locked and read in three statements: reading sees what the holders before
-- us committed, and a session that was created after the look-up counts as not found, since its head is not locked.
create or replace function starcite.append_events(
  p_tenant_ids text[], p_session_ids text[], p_types text[], p_payloads json[], p_actors text[], p_sources text[],
  p_producer_ids text[], p_producer_seqs bigint[], p_idempotency_keys text[], p_metadata json[], p_refs json[],
  p_expected_seqs bigint[], p_batches int[])
returns table (ordinal int, outcome text, sid bigint, seq bigint, last_seq bigint, expected bigint, inserted_at text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan  -- every look-up is by key: planning anew for each call finds nothing better
set lock_timeout = '2s'  -- a session held by somebody's long transaction is an error, not a queue without end
as $$
#variable_conflict use_column
declare
  v_count constant int := coalesce(cardinality(p_session_ids), 0);
  v_now timestamptz;
  r record;
  -- decided, by event
  v_outcomes text[] := array_fill(null::text, array[v_count]);
  v_sids bigint[];
  v_seqs bigint[] := array_fill(null::bigint, array[v_count]);
  v_last_seqs bigint[] := array_fill(null::bigint, array[v_count]);
  v_expected bigint[] := array_fill(null::bigint, array[v_count]);
  v_times timestamptz[] := array_fill(null::timestamptz, array[v_count]);
  v_digests bytea[] := array_fill(null::bytea, array[v_count]);
  -- The producer's newest event of this call, before and after each event, by ordinal; null: what is stored in
  -- producers. One that was refused afterwards, with its batch, is passed over when it is looked up.
  v_newest_before int[] := array_fill(null::int, array[v_count]);
  v_newest_after int[] := array_fill(null::int, array[v_count]);
  -- the session and the batch that the loop is in
  v_sid bigint;
  v_last_seq bigint;
  v_at timestamptz;
  v_batch int;
  v_batch_events int[];
  v_batch_last_seq bigint;
  v_batch_expected_seq bigint;
  v_batch_refused boolean;
  -- the event at hand
  v_outcome text;
  v_seq bigint;
  v_newest int;
  v_older int;
  v_known_producer_seq bigint;
  v_original_seq bigint;
  v_original_digest bytea;
  v_expected_seq bigint;
  v_event int;
  v_hints int;
begin
  v_sids := array(
    select s.sid
      from unnest(p_tenant_ids, p_session_ids) with ordinality as k (t, i, o)
      left join lateral (select s.sid from starcite.sessions s
                          where s.tenant_id = k.t and s.id = k.i limit 1) s on true
     order by k.o);

  perform from starcite.session_heads h where h.sid = any (v_sids) order by h.sid for no key update;

  -- Never into a segment that is being moved away, whatever the clock says.
  select greatest(clock_timestamp(), s.value::timestamptz) into strict v_now
    from starcite.settings s where s.name = 'closed_before';

  for r in
    select i.o::int as o, i.sid, s.erased_at is not null as erased, h.last_seq, h.last_event_at,
           i.producer_id, i.producer_seq, i.expected_seq, i.batch,
           p.producer_seq as stored_producer_seq, p.seq as stored_seq, p.digest as stored_digest,
           case when i.producer_id is not null
                then starcite.content_key(i.type, i.actor, i.source, i.idempotency_key, i.payload, i.metadata, i.refs)
            end as digest,
           case when i.producer_id is not null
                then lag(i.o) over (partition by i.sid, i.producer_id order by i.o)
            end as previous_of_producer
      from unnest(v_sids, p_types, p_payloads, p_actors, p_sources, p_producer_ids, p_producer_seqs,
                  p_idempotency_keys, p_metadata, p_refs, p_expected_seqs, p_batches)
             with ordinality
             as i (sid, type, payload, actor, source, producer_id, producer_seq, idempotency_key, metadata, refs,
                   expected_seq, batch, o)
      left join lateral (select s.erased_at from starcite.sessions s where s.sid = i.sid limit 1) s on true
      left join lateral (select h.last_seq, h.last_event_at from starcite.session_heads h
                          where h.sid = i.sid limit 1) h on true
      left join lateral (select p.producer_seq, p.seq, p.digest from starcite.producers p
                          where p.sid = i.sid and p.producer_id = i.producer_id limit 1) p on true
     order by i.sid nulls last, i.o
  loop
    if r.sid is distinct from v_sid then
      v_sid := r.sid;
      v_last_seq := r.last_seq;
      v_at := greatest(v_now, r.last_event_at);
      v_batch := null;
    end if;
    if r.batch is null or r.batch is distinct from v_batch then
      v_batch := r.batch;
      v_batch_events := '{}';
      v_batch_last_seq := v_last_seq;
      v_batch_expected_seq := null;
      v_batch_refused := false;
    end if;

    v_newest := v_newest_after[r.previous_of_producer];
    while v_outcomes[v_newest] <> 'appended' loop
      v_newest := v_newest_before[v_newest];
    end loop;
    v_known_producer_seq := case when v_newest is null then r.stored_producer_seq else p_producer_seqs[v_newest] end;

    v_outcome := 'appended';
    v_seq := null;
    -- An expected_seq that met a retry still stands for the rest of its batch.
    v_expected_seq := coalesce(r.expected_seq, v_batch_expected_seq);
    v_batch_expected_seq := null;

    if v_batch_refused then
      v_outcome := 'batch_refused';
    elsif v_sid is null then
      v_outcome := 'session_not_found';
    elsif r.erased then
      v_outcome := 'session_erased';
    elsif r.producer_seq <= v_known_producer_seq then
      -- Which event was that? One of this call, the producer's latest as stored, or one that is still hot.
      v_original_seq := null;
      v_older := v_newest;
      while p_producer_seqs[v_older] > r.producer_seq loop
        v_older := v_newest_before[v_older];
      end loop;
      if v_older is not null then
        v_original_seq := v_seqs[v_older];
        v_original_digest := v_digests[v_older];
      elsif r.producer_seq = r.stored_producer_seq then
        v_original_seq := r.stored_seq;
        v_original_digest := r.stored_digest;
      else
        select e.seq,
               starcite.content_key(e.type, e.actor, e.source, e.idempotency_key, e.payload, e.metadata, e.refs)
          into v_original_seq, v_original_digest
          from starcite.events e
         where e.sid = v_sid and e.producer_id = r.producer_id and e.producer_seq = r.producer_seq;
      end if;
      if v_original_seq is null then
        v_outcome := 'producer_seq_conflict';
      elsif v_original_digest = r.digest then
        v_outcome := 'deduped';
        v_seq := v_original_seq;
        v_batch_expected_seq := v_expected_seq;
      else
        v_outcome := 'producer_replay_conflict';
      end if;
    elsif r.producer_seq > v_known_producer_seq + 1 then
      v_outcome := 'producer_seq_conflict';
    elsif v_expected_seq <> v_last_seq then
      v_outcome := 'expected_seq_conflict';
    end if;

    v_last_seqs[r.o] := v_last_seq;
    -- A refusal takes back what its batch had been given.
    if v_batch is not null and v_outcome not in ('appended', 'deduped', 'batch_refused') then
      foreach v_event in array v_batch_events loop
        v_outcomes[v_event] := 'batch_refused';
        v_seqs[v_event] := null;
        v_last_seqs[v_event] := v_batch_last_seq;
        v_times[v_event] := null;
      end loop;
      v_last_seq := v_batch_last_seq;
      v_batch_refused := true;
    end if;

    v_newest_before[r.o] := v_newest;
    v_newest_after[r.o] := v_newest;
    if v_outcome = 'appended' then
      v_last_seq := v_last_seq + 1;
      v_seq := v_last_seq;
      v_last_seqs[r.o] := v_last_seq;
      v_times[r.o] := v_at;
      if r.producer_id is not null then
        v_newest_after[r.o] := r.o;
      end if;
    elsif v_outcome = 'producer_seq_conflict' then
      v_expected[r.o] := v_known_producer_seq + 1;
    end if;
    v_outcomes[r.o] := v_outcome;
    v_seqs[r.o] := v_seq;
    v_digests[r.o] := r.digest;
    if v_batch is not null then
      v_batch_events := v_batch_events || r.o;
    end if;
  end loop;

  if 'appended' = any (v_outcomes) then
    perform starcite.ensure_segment(t.at) from (select distinct u.at from unnest(v_times) as u (at)) t
      where t.at is not null
        and not exists (select from starcite.segments s where tstzrange(s.from_at, s.to_at) @> t.at);

    with numbered as (
      select i.*, uuid_send(gen_random_uuid()) as salt
        from unnest(v_outcomes, v_sids, v_seqs, v_times, v_digests, p_types, p_payloads, p_actors, p_sources,
                    p_producer_ids, p_producer_seqs, p_idempotency_keys, p_metadata, p_refs)
               as i (outcome, sid, seq, at, digest, type, payload, actor, source, producer_id, producer_seq,
                     idempotency_key, metadata, refs)
       where i.outcome = 'appended'
    ), digested as materialized (
      select n.*, starcite.content_digest(n.salt, n.payload, n.metadata, n.refs) as content_digest from numbered n
    ), chained as (
      select d.*,
             starcite.chain(h.chain_hash, starcite.event_link(d.seq, d.at, d.type, d.actor, d.source, d.producer_id,
                              d.producer_seq, d.idempotency_key, d.content_digest))
               over (partition by d.sid order by d.seq) as hash
        from digested d
       cross join lateral (select h.chain_hash from starcite.session_heads h where h.sid = d.sid limit 1) h
    ), stored as (
      insert into starcite.events (sid, seq, inserted_at, producer_seq, type, actor, source, producer_id,
                                   idempotency_key, payload, metadata, refs, salt, content_digest, hash)
      select c.sid, c.seq, c.at, c.producer_seq, c.type, c.actor, c.source, c.producer_id,
             c.idempotency_key, c.payload, c.metadata, c.refs, c.salt, c.content_digest, c.hash
        from chained c
    ), remembered as (
      insert into starcite.producers as p (sid, producer_id, producer_seq, seq, digest)
      select distinct on (c.sid, c.producer_id) c.sid, c.producer_id, c.producer_seq, c.seq, c.digest
        from chained c
       where c.producer_id is not null
       order by c.sid, c.producer_id, c.seq desc
          on conflict (sid, producer_id) do update
         set producer_seq = excluded.producer_seq, seq = excluded.seq, digest = excluded.digest
    ), head as (
      update starcite.session_heads h
         set last_seq = c.seq, chain_hash = c.hash, last_event_at = c.at
        from (select distinct on (c.sid) c.sid, c.seq, c.hash, c.at from chained c order by c.sid, c.seq desc) c
       where h.sid = c.sid
      returning h.sid, h.last_seq
    ), hint as (
      -- 7,800 characters: Postgres refuses a payload of 8,000 bytes or more, and a pair has at most 42.
      select x.pair, sum(length(x.pair) + 1) over (order by x.sid) / 7800 as part
        from (select h.sid, format('[%s,%s]', h.sid, h.last_seq) as pair from head h) x
    )
    select count(pg_notify('starcite_heads', m.payload)) into v_hints
      from (select '[' || string_agg(h.pair, ',') || ']' as payload from hint h group by h.part) m;
  end if;

  return query
    select u.o::int, u.outcome, u.sid, u.seq, u.last_seq, u.expected, starcite.wire_time(u.at)
      from unnest(v_outcomes, v_sids, v_seqs, v_last_seqs, v_expected, v_times) with ordinality
             as u (outcome, sid, seq, last_seq, expected, at, o);
end
$$;
