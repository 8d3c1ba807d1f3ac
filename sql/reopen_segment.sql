-- Creates the partition of a moved segment again, for a row that is put back to repair a session that is set aside
-- (docs/operations.md, "A damaged session"). Returns the segment's name; null when no segment has that time. The
-- tiering job drops the partition once it is empty.
create or replace function starcite.reopen_segment(p_at timestamptz) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text;
  v_state text;
begin
  select g.name, g.state into v_name, v_state from starcite.segments g where tstzrange(g.from_at, g.to_at) @> p_at for update;
  if v_state = 'moved' then
    raise exception 'the partition of segment % is being taken away; try again when its state is dropped', v_name
      using errcode = 'object_in_use';
  elsif v_state = 'dropped' then
    perform starcite.restore_partition(v_name);
    update starcite.segments g set kept_events = coalesce(g.kept_events, 0), dropped_at = null where g.name = v_name;
  end if;
  return v_name;
end
$$;
