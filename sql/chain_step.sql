-- One step of starcite.chain: the hash so far (or, at the first step, where the chain starts) and the next link. It
-- is plpgsql, because Postgres plans an aggregate's step written in SQL again for every partition of a window, which
-- costs more than all the rest of an append. Names are qualified, because it runs with the caller's search path.
create or replace function starcite.chain_step(p_state bytea, p_start bytea, p_chain_version int, p_link bytea)
returns bytea
language plpgsql immutable parallel safe
as $$
begin
  return starcite.chained_hash(p_chain_version, coalesce(p_state, p_start), p_link);
end
$$;

-- The same for events of form 1 only.
create or replace function starcite.chain_step(p_state bytea, p_start bytea, p_link bytea) returns bytea
language plpgsql immutable parallel safe
as $$
begin
  return pg_catalog.sha256(coalesce(p_state, p_start) operator(pg_catalog.||) p_link);
end
$$;
