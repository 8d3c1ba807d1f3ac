-- Refuses an append of a node because the database's clock runs ahead of the latest time that the node thinks possible: its
-- event, and every later one of its session, would get that time. Passes when the clock is back, or when the node has come to
-- believe it. Answers nothing; the type is that of the argument that the node puts it in the place of.
create or replace function starcite.refuse_time(p_latest timestamptz) returns text[]
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception 'the clock of the database runs ahead: it is %, and cannot be later than %', clock_timestamp(), p_latest
    using errcode = '55SC1', hint = 'Look at the clock of the database''s host.';
end
$$;
