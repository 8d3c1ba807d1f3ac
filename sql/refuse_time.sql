-- Refuses a node's append because the database's clock runs ahead of the latest time that the node considers
-- possible: the event, and every later one of its session, would get that time. Passes once the clock is back, or the
-- node has accepted it. Returns nothing; the type is that of the argument in whose place the node calls it.
create or replace function starcite.refuse_time(p_latest timestamptz) returns text[]
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception 'the clock of the database runs ahead: it is %, and cannot be later than %', clock_timestamp(), p_latest
    using errcode = '55SC1', hint = 'Look at the clock of the database''s host.';
end
$$;
