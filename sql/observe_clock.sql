-- Checks whether the database's clock may be trusted for erasure by age, and counts the seconds that jobs have
-- observed.
--   p_elapsed    seconds on the caller's monotonic clock since this function last returned to it that the clock is
--                trusted; null at its first call
--   p_node_time  the caller's own wall clock
-- Returns one row:
--   trusted      false when the clock runs more than an hour ahead of p_elapsed or of p_node_time. It stays false
-- over
--                restarts until the clock is back, or an operator calls starcite.trust_clock()
--   newly        whether `trusted` has changed
--   ahead        how far the clock runs ahead; null when it is trusted
--   observed_seconds  seconds observed so far, in all. A clock that jumps adds none. Time that no job has observed,
--                between two processes, counts for an hour at most
-- A clock that runs behind is trusted: it makes nothing due too early. Hosts that sleep and virtual machines that are
-- paused look like a jump.
create or replace function starcite.observe_clock(
  p_elapsed double precision, p_node_time timestamptz,
  out trusted boolean, out newly boolean, out ahead interval, out observed_seconds double precision)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  c_tolerance constant interval := interval '1 hour';
  v_now constant timestamptz := clock_timestamp();
  v_clock starcite.retention_clock;
  v_gap interval;
begin
  select c.* into strict v_clock from starcite.retention_clock c for update;
  v_gap := v_now - v_clock.trusted_at;
  ahead := greatest(v_gap - make_interval(secs => p_elapsed), v_now - p_node_time);
  -- A new process does not know how long the gap was. When the clock was distrusted before, it is trusted once the
  -- jump is gone.
  if p_elapsed is null and v_clock.ahead is not null and v_gap >= v_clock.ahead / 2 then
    ahead := greatest(ahead, v_clock.ahead);
  end if;
  trusted := ahead <= c_tolerance;
  newly := trusted <> (v_clock.ahead is null);
  if trusted then
    ahead := null;
  end if;
  update starcite.retention_clock c
     set trusted_at = case when trusted then greatest(v_now, c.trusted_at) else c.trusted_at end,
         observed_seconds = c.observed_seconds
           + case when trusted then coalesce(p_elapsed, extract(epoch from least(greatest(v_gap, interval '0'), c_tolerance)))
                  else 0 end,
         ahead = observe_clock.ahead,
         distrusted_at = case when trusted then null else coalesce(c.distrusted_at, v_now) end
  returning c.observed_seconds into observed_seconds;
end
$$;
