-- The fields of an event that remain after an erasure, as its session's chain hashes them, without seq and time.
create or replace function starcite.event_fields(
  p_type text, p_actor text, p_source text, p_producer_id text, p_producer_seq bigint, p_idempotency_key text)
returns text
language sql immutable parallel safe
return starcite.framed(p_type) || starcite.framed(p_actor) || starcite.framed(p_source)
  || starcite.framed(p_producer_id) || starcite.framed(p_producer_seq::text)
  || starcite.framed(p_idempotency_key);
