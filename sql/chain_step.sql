-- One step of starcite.chain: the hash so far (or, at the first step, where the chain starts) and the next link.
create or replace function starcite.chain_step(p_state bytea, p_start bytea, p_link bytea) returns bytea
language sql immutable parallel safe
return sha256(coalesce(p_state, p_start) || p_link);
