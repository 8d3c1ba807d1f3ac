-- Identifies the content of an event, to distinguish a retry from a different event with the same producer_seq.
-- starcite.canonical removes what does not matter (white space, order of keys, escapes) and keeps what does (1 and
-- 1.0 differ). It has no salt, and is not part of the chain.
create or replace function starcite.content_key(
  p_type text, p_actor text, p_source text, p_idempotency_key text, p_payload json, p_metadata json, p_refs json)
returns bytea
language sql stable parallel safe
return sha256(convert_to(
  starcite.framed(p_type) || starcite.framed(p_actor) || starcite.framed(p_source)
  || starcite.framed(p_idempotency_key) || coalesce(starcite.canonical(p_payload), '-')
  || coalesce(starcite.canonical(p_metadata), '-') || coalesce(starcite.canonical(p_refs), '-'), 'UTF8'));
