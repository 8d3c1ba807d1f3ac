-- Appends one event inside the caller's own transaction: the event commits, or not, with everything else in it.
--
--   begin; update orders …; select * from starcite.append('ses_1', 'order.paid', '{"order":7}'); commit;
--
-- Same rules, same chain, same notification as an append over HTTP. The session's log is locked until the caller
-- commits, so append late and commit soon. A refusal raises, so that it cannot be overlooked:
--   SC404 session_not_found · SC410 session_erased · SC001 expected_seq_conflict · SC002 producer_seq_conflict
--   SC003 producer_replay_conflict; the detail is a JSON object (current_seq, expected_producer_seq).
-- \u0000, which Postgres text cannot hold, is refused by starcite.comparable.
create or replace function starcite.append(
  p_session_id text, p_type text, p_payload json, p_actor text default 'anonymous', p_source text default null,
  p_producer_id text default null, p_producer_seq bigint default null, p_idempotency_key text default null,
  p_metadata json default '{}', p_refs json default '{}', p_expected_seq bigint default null,
  p_tenant_id text default 'default',
  out seq bigint, out last_seq bigint, out deduped boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
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
    when p_producer_seq < 1 then 'producer_seq must be 1 or more'
    when p_expected_seq < 0 then 'expected_seq must be 0 or more'
    when coalesce(jsonb_typeof(starcite.comparable(p_payload)), '') <> 'object' then 'payload must be a JSON object'
    when jsonb_typeof(starcite.comparable(coalesce(p_metadata, '{}'))) <> 'object' then 'metadata must be a JSON object'
    when jsonb_typeof(starcite.comparable(coalesce(p_refs, '{}'))) <> 'object' then 'refs must be a JSON object'
  end;
  if v_problem is not null then
    raise exception 'starcite.append: %', v_problem using errcode = 'invalid_parameter_value';
  end if;

  select a.* into strict v_result
    from starcite.append_events(
           array[p_tenant_id], array[p_session_id], array[p_type], array[p_payload], array[p_actor], array[p_source],
           array[p_producer_id], array[p_producer_seq], array[p_idempotency_key], array[coalesce(p_metadata, '{}')],
           array[coalesce(p_refs, '{}')], array[p_expected_seq], array[null::int]) a;

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
        using errcode = 'SC003', detail = json_build_object('expected_producer_seq', v_result.expected)::text;
  end case;
  seq := v_result.seq;
  last_seq := v_result.last_seq;
  deduped := v_result.outcome = 'deduped';
end
$$;
