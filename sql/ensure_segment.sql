-- Makes sure that a segment holds p_at, and answers its name. Nodes call it ahead of time; an append that finds no
-- segment calls it too, so an append never fails for the lack of one.
--
-- Locks: one advisory lock, so two callers never make the same segment; an append calls this while it holds its
-- heads, and nobody who holds the advisory lock waits for a head, so the order is always heads, then this.
-- The table is made apart and then attached: `create table … partition of` would lock events exclusively.
create or replace function starcite.ensure_segment(p_at timestamptz) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text;
  v_width interval;
  v_from timestamptz;
  v_to timestamptz;
begin
  select s.name into v_name from starcite.segments s where s.from_at <= p_at and p_at < s.to_at;
  if found then
    return v_name;
  end if;

  perform pg_advisory_xact_lock(hashtextextended('starcite.ensure_segment', 0));
  select s.name into v_name from starcite.segments s where s.from_at <= p_at and p_at < s.to_at;
  if found then
    return v_name;
  end if;

  select s.value::interval into strict v_width from starcite.settings s where s.name = 'segment_interval';
  v_from := date_bin(v_width, p_at, timestamptz '2000-01-01 00:00:00+00');
  v_to := v_from + v_width;
  -- Neighbours may have been made under another interval: fit between them.
  select coalesce(max(s.to_at), v_from) into v_from from starcite.segments s where s.to_at > v_from and s.to_at <= p_at;
  select coalesce(min(s.from_at), v_to) into v_to from starcite.segments s where s.from_at < v_to and s.from_at > p_at;

  v_name := 'events_' || to_char(v_from at time zone 'UTC', 'YYYYMMDD"t"HH24MISS');
  execute format('create table starcite.%I (like starcite.events including all)', v_name);
  execute format('create unique index on starcite.%I (sid, seq)', v_name);
  execute format('create unique index on starcite.%I (sid, producer_id, producer_seq) where producer_id is not null',
    v_name);
  execute format('alter table starcite.events attach partition starcite.%I for values from (%L) to (%L)',
    v_name, v_from, v_to);
  insert into starcite.segments (name, from_at, to_at) values (v_name, v_from, v_to);
  return v_name;
end
$$;
