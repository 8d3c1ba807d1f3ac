-- The previous hash of the event with seq 1. It binds a chain to its session's name.
create or replace function starcite.genesis_hash(p_tenant_id text, p_session_id text) returns bytea
language sql immutable parallel safe
return sha256(convert_to('starcite/1' || starcite.framed(p_tenant_id) || starcite.framed(p_session_id), 'UTF8'));
