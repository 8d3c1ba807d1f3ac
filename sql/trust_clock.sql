-- Makes the database's clock, as it is now, the one that erasing by age goes by, after starcite.observe_clock has found it to run
-- ahead. For an operator who has made sure that it is right: a host that slept, a clock that had been behind. Nodes go on
-- distrusting a clock that is ahead of their own.
create or replace function starcite.trust_clock() returns void
language sql set search_path = pg_catalog, pg_temp
as $$
  update starcite.retention_clock c set trusted_at = clock_timestamp(), ahead = null, distrusted_at = null
$$;
