-- Makes sure that a segment holds p_at, and answers its name. Nodes call it ahead of time; an append that finds no
-- segment calls it too, so an append never fails for the lack of one.
--
-- Locks: a row of starcite.locks, so two callers never make the same segment; an append calls this while it holds its
-- heads, so the order is always heads, then this. (Only an SQL transaction that appends, makes a segment by it, and
-- then appends to another session breaks that order; Postgres would end it, or the other, as a deadlock.)
-- The table is made apart and then attached: `create table … partition of` would lock events exclusively.
create or replace function starcite.ensure_segment(p_at timestamptz) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
set timezone = 'UTC'   -- a day of the interval has 24 hours, whatever the caller's clock changes do
set datestyle = 'ISO'  -- the bounds are read back as they were written
as $$
declare
  v_name text;
  v_width interval;
  v_from timestamptz;
  v_to timestamptz;
begin
  select s.name into v_name from starcite.segments s where tstzrange(s.from_at, s.to_at) @> p_at;
  if found then
    return v_name;
  end if;

  select l.name into strict v_name from starcite.locks l where l.name = 'segments' for no key update;
  select s.name into v_name from starcite.segments s where tstzrange(s.from_at, s.to_at) @> p_at;
  if found then
    return v_name;
  end if;

  select s.value::interval into strict v_width from starcite.settings s where s.name = 'segment_interval';
  v_from := date_bin(v_width, p_at, timestamptz '2000-01-01 00:00:00+00');
  v_to := v_from + v_width;
  -- Neighbours may have been made under another interval: fit between them.
  select coalesce(max(s.to_at), v_from) into v_from from starcite.segments s where s.to_at > v_from and s.to_at <= p_at;
  select coalesce(min(s.from_at), v_to) into v_to from starcite.segments s where s.from_at < v_to and s.from_at > p_at;

  -- The name may be taken: by a segment that began within the same second, or by one on its way out.
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
  execute format('create table starcite.%I (like starcite.events including all)', v_name);
  -- Asked directly it shows nothing, whoever may be granted to read it: policies are those of events.
  execute format('alter table starcite.%I enable row level security', v_name);
  execute format('create unique index %I on starcite.%I (sid, seq)', v_name || '_sid_seq_idx', v_name);
  -- What tells a row from others where a publication has it: without, an erasure of its content would be refused.
  execute format('alter table starcite.%I replica identity using index %I', v_name, v_name || '_sid_seq_idx');
  execute format('create unique index on starcite.%I (sid, producer_id, producer_seq) where producer_id is not null',
    v_name);
  -- For auditors, who ask by time, actor and type (docs/decisions/0012).
  execute format('create index on starcite.%I using brin (inserted_at, actor text_bloom_ops, type text_bloom_ops)'
    ' with (pages_per_range = 16, autosummarize = on)', v_name);
  -- Planner statistics would show auditors of one tenant what others have (migrations/0017_statistics_without_values.sql).
  execute format('alter table starcite.%I alter column actor set statistics 0, alter column type set statistics 0', v_name);
  execute format('alter table starcite.events attach partition starcite.%I for values from (%L) to (%L)',
    v_name, v_from, v_to);
  return v_name;
end
$$;
