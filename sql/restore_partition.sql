-- Creates the partition of a row of starcite.segments, or attaches its table when that is detached, or when a detach
-- has begun. Does nothing when it is attached. The caller, ensure_segment or the tiering job, holds the lock row
-- 'segments'. The table is created detached and then attached: `create table … partition of` would lock events
-- exclusively.
create or replace function starcite.restore_partition(p_segment text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
set timezone = 'UTC'   -- the bounds are read back as they were written
set datestyle = 'ISO'
as $$
declare
  v_from timestamptz;
  v_to timestamptz;
  v_is_pending boolean;
begin
  perform l.name from starcite.locks l where l.name = 'segments' for no key update;
  select i.inhdetachpending into v_is_pending from pg_catalog.pg_inherits i
   where i.inhrelid = to_regclass(format('starcite.%I', p_segment)) and i.inhparent = 'starcite.events'::regclass;
  if v_is_pending then
    execute format('alter table starcite.events detach partition starcite.%I finalize', p_segment);
  elsif found then
    return;
  end if;
  select g.from_at, g.to_at into strict v_from, v_to from starcite.segments g where g.name = p_segment;
  if to_regclass(format('starcite.%I', p_segment)) is null then
    execute format('create table starcite.%I (like starcite.events including all)', p_segment);
    -- Queried directly it shows no rows, regardless of grants: the policies are those of events.
    execute format('alter table starcite.%I enable row level security', p_segment);
    execute format('create unique index %I on starcite.%I (sid, seq)', p_segment || '_sid_seq_idx', p_segment);
    -- Publications identify rows by it: without, they would refuse the erasure of content.
    execute format('alter table starcite.%I replica identity using index %I', p_segment, p_segment || '_sid_seq_idx');
    execute format('create unique index on starcite.%I (sid, producer_id, producer_seq) where producer_id is not null',
      p_segment);
    -- For auditors, who query by time, actor and type (docs/decisions/0012).
    execute format('create index on starcite.%I using brin (inserted_at, actor text_bloom_ops, type text_bloom_ops)'
      ' with (pages_per_range = 16, autosummarize = on)', p_segment);
    -- Planner statistics would show auditors of one tenant what others have (migrations/0017_statistics_without_values.sql).
    execute format('alter table starcite.%I alter column actor set statistics 0, alter column type set statistics 0',
      p_segment);
  end if;
  execute format('alter table starcite.events attach partition starcite.%I for values from (%L) to (%L)',
    p_segment, v_from, v_to);
end
$$;
