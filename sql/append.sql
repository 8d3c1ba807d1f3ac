-- Appends one event inside the caller's own transaction: the event commits, or not, with everything else in it.
--
--   begin; update orders …; select * from starcite.append('ses_1', 'order.paid', '{"order":7}'); commit;
--
-- It has the rules, the chain and the notification of an append over HTTP. The session's log is locked until the caller
-- commits: append late and commit soon. Transactions that append to several sessions must do so in one order.
-- A refusal raises an error, so that it cannot be overlooked; some have a JSON object as detail:
--   SC404 session_not_found · SC410 session_erased · SC003 producer_replay_conflict
--   SC001 expected_seq_conflict {"current_seq"} · SC002 producer_seq_conflict {"expected_producer_seq"}
--   22023 a value that an append over HTTP would refuse too
-- \u0000, which Postgres text cannot hold, is refused by starcite.comparable (22P05). In repeatable read, an append
-- after another transaction's append is a serialization failure (40001), as any update would be.
create or replace function starcite.append(
  p_session_id text, p_type text, p_payload json, p_actor text default 'anonymous', p_source text default null,
  p_producer_id text default null, p_producer_seq bigint default null, p_idempotency_key text default null,
  p_metadata json default '{}', p_refs json default '{}', p_expected_seq bigint default null,
  p_tenant_id text default 'default',
  out seq bigint, out last_seq bigint, out deduped boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  c_max_name constant int := 512;  -- characters; index entries hold some 2,700 bytes
  c_max_integer constant bigint := 9007199254740991;  -- the largest that every JSON reader keeps
  c_whole constant jsonpath := 'strict $.keyvalue() ? (@.key == "to_seq" || @.key == "step").value
                                  ? (@.type() != "number" || @ < 0 || @ != @.floor())';
  c_words constant jsonpath := 'strict $.keyvalue() ? (@.key == "request_id" || @.key == "sequence_id").value
                                  ? (@.type() != "string" && @.type() != "null")';
  v_result record;
  v_problem text;
begin
  v_problem := case
    when coalesce(p_type, '') = '' then 'type must be a non-empty string'
    when coalesce(p_actor, '') = '' then 'actor must be a non-empty string'
    when p_source = '' then 'source must be a non-empty string, or null'
    when p_idempotency_key = '' then 'idempotency_key must be a non-empty string, or null'
    when p_producer_id = '' then 'producer_id must be a non-empty string, or null'
    when (p_producer_id is null) <> (p_producer_seq is null) then 'producer_id and producer_seq go together'
    when greatest(length(p_type), length(p_actor), length(p_source), length(p_producer_id), length(p_idempotency_key))
         > c_max_name then format('type, actor, source, producer_id and idempotency_key have at most %s characters',
                                  c_max_name)
    when p_producer_seq not between 1 and c_max_integer then format('producer_seq must be from 1 to %s', c_max_integer)
    when p_expected_seq < 0 then 'expected_seq must be 0 or more'
    when coalesce(jsonb_typeof(starcite.comparable(p_payload)), '') <> 'object' then 'payload must be a JSON object'
    when jsonb_typeof(starcite.comparable(coalesce(p_metadata, '{}'))) <> 'object' then 'metadata must be a JSON object'
    when jsonb_typeof(starcite.comparable(coalesce(p_refs, '{}'))) <> 'object' then 'refs must be a JSON object'
    when jsonb_path_exists(starcite.comparable(p_refs), c_whole)
         then 'refs.to_seq and refs.step must be integers, 0 or more'
    when jsonb_path_exists(starcite.comparable(p_refs), c_words)
         then 'refs.request_id and refs.sequence_id must be strings'
  end;
  if v_problem is not null then
    raise exception 'starcite.append: %', v_problem using errcode = 'invalid_parameter_value';
  end if;

  select a.* into strict v_result
    from starcite.append_events(
           array[p_tenant_id], array[p_session_id], array[p_type], array[p_payload], array[p_actor], array[p_source],
           array[p_producer_id], array[p_producer_seq], array[p_idempotency_key], array[coalesce(p_metadata, '{}')],
           array[coalesce(p_refs, '{}')], array[p_expected_seq], array[null::int], null) a;

  case v_result.outcome
    when 'appended', 'deduped' then null;
    when 'session_not_found' then
      raise exception 'session_not_found: tenant % has no session %', p_tenant_id, p_session_id
        using errcode = 'SC404';
    when 'session_erased' then
      raise exception 'session_erased: the content of session % was erased', p_session_id using errcode = 'SC410';
    when 'expected_seq_conflict' then
      raise exception 'expected_seq_conflict: expected_seq is %, the session is at %', p_expected_seq, v_result.last_seq
        using errcode = 'SC001', detail = json_build_object('current_seq', v_result.last_seq)::text;
    when 'producer_seq_conflict' then
      raise exception 'producer_seq_conflict: producer_seq is %, expected %', p_producer_seq, v_result.expected
        using errcode = 'SC002', detail = json_build_object('expected_producer_seq', v_result.expected)::text;
    when 'producer_replay_conflict' then
      raise exception 'producer_replay_conflict: producer_seq % of % was another event', p_producer_seq, p_producer_id
        using errcode = 'SC003';
  end case;
  seq := v_result.seq;
  last_seq := v_result.last_seq;
  deduped := v_result.outcome = 'deduped';
end
$$;

-- The same with a payload, metadata and refs of jsonb, and with a payload of text, which is JSON. Postgres chooses
-- the second for a literal or a parameter without a type, which would otherwise fit json and jsonb alike. Both run
-- with the rights of the caller, who needs EXECUTE only on starcite.append with json: these two are granted to all.
create or replace function starcite.append(
  p_session_id text, p_type text, p_payload jsonb, p_actor text default 'anonymous', p_source text default null,
  p_producer_id text default null, p_producer_seq bigint default null, p_idempotency_key text default null,
  p_metadata jsonb default '{}', p_refs jsonb default '{}', p_expected_seq bigint default null,
  p_tenant_id text default 'default',
  out seq bigint, out last_seq bigint, out deduped boolean)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  select a.seq, a.last_seq, a.deduped into seq, last_seq, deduped
    from starcite.append(p_session_id, p_type, p_payload::json, p_actor, p_source, p_producer_id, p_producer_seq,
                         p_idempotency_key, p_metadata::json, p_refs::json, p_expected_seq, p_tenant_id) a;
end
$$;

create or replace function starcite.append(
  p_session_id text, p_type text, p_payload text, p_actor text default 'anonymous', p_source text default null,
  p_producer_id text default null, p_producer_seq bigint default null, p_idempotency_key text default null,
  p_metadata json default '{}', p_refs json default '{}', p_expected_seq bigint default null,
  p_tenant_id text default 'default',
  out seq bigint, out last_seq bigint, out deduped boolean)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  select a.seq, a.last_seq, a.deduped into seq, last_seq, deduped
    from starcite.append(p_session_id, p_type, p_payload::json, p_actor, p_source, p_producer_id, p_producer_seq,
                         p_idempotency_key, p_metadata, p_refs, p_expected_seq, p_tenant_id) a;
end
$$;
