-- Digest of an event's content: the part that erasure removes. The salt is removed with it.
create or replace function starcite.content_digest(p_salt bytea, p_payload json, p_metadata json, p_refs json)
returns bytea
language sql stable parallel safe
return sha256(p_salt || convert_to(
  starcite.framed(p_payload::text) || starcite.framed(p_metadata::text) || starcite.framed(p_refs::text), 'UTF8'));
