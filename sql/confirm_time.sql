-- The latest time that the database's clock has certainly passed: a reading that it has not gone back behind for a
-- grace, an hour or half of the hot retention, whichever is less. Segments that end later are not closed yet: a clock
-- that jumps ahead and back would otherwise close the current segment, and all events that are appended until its end
-- would get the time of that end. Usually the reading is older than the hot retention before a segment is due, so
-- nothing waits. After a lasting jump, and after a time without jobs, segments wait for the grace at most twice. The
-- tiering job calls it in each pass. With a hot retention of less than two minutes there is no grace: infinity.
create or replace function starcite.confirm_time() returns timestamptz
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  c_longest_grace constant interval := interval '1 hour';
  c_now constant timestamptz := clock_timestamp();
  v_grace interval;
  v_seen timestamptz;
  v_confirmed timestamptz;
begin
  select least(c_longest_grace, s.value::interval / 2) into strict v_grace
    from starcite.settings s where s.name = 'hot_retention';
  if v_grace < interval '1 minute' then
    return 'infinity';
  end if;
  select max(s.value::timestamptz) filter (where s.name = 'clock_seen'),
         max(s.value::timestamptz) filter (where s.name = 'clock_confirmed')
    into v_seen, v_confirmed from starcite.settings s where s.name in ('clock_seen', 'clock_confirmed');
  if v_seen is null then
    v_seen := c_now;
    v_confirmed := c_now;
  elsif c_now < v_seen then
    v_seen := c_now;
    v_confirmed := least(v_confirmed, c_now);
  elsif c_now - v_seen >= v_grace then
    v_confirmed := v_seen;
    v_seen := c_now;
  else
    return v_confirmed;
  end if;
  insert into starcite.settings as s (name, value)
  values ('clock_seen', starcite.wire_time(v_seen)), ('clock_confirmed', starcite.wire_time(v_confirmed))
      on conflict (name) do update set value = excluded.value;
  return v_confirmed;
end
$$;
