-- Makes sure that a segment contains p_at, and returns its name. Nodes call it ahead of time; an append that finds no
-- segment calls it too, so an append never fails for the lack of one. It also restores the partition of a hot segment
-- that was dropped or detached (the dropped events are lost), and the row of starcite.segments of a partition that
-- has lost it.
--
-- Locks: a row of starcite.locks, so two callers never create the same segment. An append calls this while it holds
-- its heads, so the order is always heads, then this. (Only an SQL transaction that appends, creates a segment, and
-- then appends to another session breaks that order; Postgres may end it, or the other one, as a deadlock.)
create or replace function starcite.ensure_segment(p_at timestamptz) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
set timezone = 'UTC'   -- a day of the interval has 24 hours, also when the caller's time zone changes its offset
set datestyle = 'ISO'  -- bounds of partitions are read
as $$
declare
  v_name text;
  v_is_whole boolean;
  v_lock text;
  v_width interval;
  v_from timestamptz;
  v_to timestamptz;
begin
  select s.name, s.state <> 'hot' or exists (select from pg_catalog.pg_inherits i
                                              where i.inhrelid = to_regclass(format('starcite.%I', s.name))
                                                and not i.inhdetachpending)
    into v_name, v_is_whole
    from starcite.segments s where tstzrange(s.from_at, s.to_at) @> p_at;
  if v_is_whole then
    return v_name;
  end if;

  select l.name into strict v_lock from starcite.locks l where l.name = 'segments' for no key update;
  insert into starcite.segments (name, from_at, to_at)
  select c.relname, b.bound[1]::timestamptz, b.bound[2]::timestamptz
    from pg_catalog.pg_inherits i
    join pg_catalog.pg_class c on c.oid = i.inhrelid
   cross join lateral (select regexp_match(pg_get_expr(c.relpartbound, c.oid), $r$FROM \('([^']+)'\) TO \('([^']+)'\)$r$) as bound) b
   where i.inhparent = 'starcite.events'::regclass and b.bound is not null
     and not exists (select from starcite.segments s where s.name = c.relname);
  select s.name into v_name from starcite.segments s where tstzrange(s.from_at, s.to_at) @> p_at;
  if found then
    if exists (select from starcite.segments s where s.name = v_name and s.state = 'hot') then
      perform starcite.restore_partition(v_name);
    end if;
    return v_name;
  end if;

  select s.value::interval into strict v_width from starcite.settings s where s.name = 'segment_interval';
  v_from := date_bin(v_width, p_at, timestamptz '2000-01-01 00:00:00+00');
  v_to := v_from + v_width;
  -- Neighbours may have been created under another interval: fit between them.
  select coalesce(max(s.to_at), v_from) into v_from from starcite.segments s where s.to_at > v_from and s.to_at <= p_at;
  select coalesce(min(s.from_at), v_to) into v_to from starcite.segments s where s.from_at < v_to and s.from_at > p_at;

  -- The name may be taken: by a segment that began within the same second, or by one that is being dropped.
  v_name := 'events_' || to_char(v_from, 'YYYYMMDD"t"HH24MISS');
  for i in 2 .. 1000 loop
    exit when to_regclass('starcite.' || v_name) is null
      and not exists (select from starcite.segments s where s.name = v_name);
    v_name := 'events_' || to_char(v_from, 'YYYYMMDD"t"HH24MISS') || '_' || i;
  end loop;

  begin
    insert into starcite.segments (name, from_at, to_at) values (v_name, v_from, v_to);
  exception when exclusion_violation then
    raise exception 'the segment for % was made after this transaction took its snapshot', p_at
      using errcode = 'serialization_failure', hint = 'Run the transaction again.';
  end;
  perform starcite.restore_partition(v_name);
  return v_name;
end
$$;
