-- Makes erasure by age use the database's present clock, after starcite.observe_clock has found it to run ahead. For
-- an operator who has verified that the clock is right: a host that slept, a clock that had been behind. Nodes still
-- distrust a clock that is ahead of their own.
create or replace function starcite.trust_clock() returns void
language sql set search_path = pg_catalog, pg_temp
as $$
  update starcite.retention_clock c set trusted_at = clock_timestamp(), ahead = null, distrusted_at = null
$$;
