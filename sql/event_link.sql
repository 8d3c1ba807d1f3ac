-- What an event adds to its session's chain in form 1, where hash = sha256(previous hash || event_link);
-- starcite.chain_link makes form 2 of it. The link is the content's digest followed by every other field, so it can
-- be recomputed after the content was erased.
create or replace function starcite.event_link(
  p_seq bigint, p_inserted_at timestamptz, p_type text, p_actor text, p_source text,
  p_producer_id text, p_producer_seq bigint, p_idempotency_key text, p_content_digest bytea)
returns bytea
language sql stable parallel safe
return p_content_digest || convert_to(
  starcite.framed(p_seq::text) || starcite.framed(starcite.wire_time(p_inserted_at))
  || starcite.event_fields(p_type, p_actor, p_source, p_producer_id, p_producer_seq, p_idempotency_key), 'UTF8');
