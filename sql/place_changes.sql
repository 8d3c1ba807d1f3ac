-- The sequencer of the lifecycle feeds: gives committed changes their positions in the feeds of their tenants, and after
-- them records the progress of those sessions among p_sids whose logs have new events since the feed last reported them.
--
-- Returns one row:
--   feeds    starcite.feed_key of each tenant whose feed has grown
--   waiting  those of p_sids whose progress could not be reported yet: the last report is less than a second old,
--            or a change of theirs has no position yet
--   is_more  whether there are more changes that can be placed at once
--
-- Positions are assigned under one lock, a row of starcite.locks, which is held until commit: a reader that sees a position
-- has been able to see all before it. A log's progress is reported only when every change of its session has a position, so
-- an append is never reported before the creation of its session; after a full batch of changes it waits. A change whose row
-- another transaction holds (the session is being erased) is placed later, and the session's later changes after it; other
-- sessions do not wait for that.
--
-- Progress has the current time, or the time of the entry before it in the feed while the clock is behind that: from this a
-- reader whose position was given up by progress knows whether its feed went back (src/lifecycle/feed.ts).
create or replace function starcite.place_changes(p_sids bigint[])
returns table (feeds text[], waiting bigint[], is_more boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
-- Statistics that were taken while many changes were uncommitted say that there are none, and a plan would then compare each
-- change with each. So every table is read by the known ids, and the results are joined by hashing.
set enable_nestloop = off
as $$
declare
  c_pause constant interval := '1 second';
  c_most constant int := 1000;
  v_lock text;
  v_now timestamptz := clock_timestamp();
  v_due bigint[];
  v_free bigint[];
  v_last bigint;
  v_placed bigint[];
begin
  feeds := '{}';
  is_more := false;
  -- Every node calls this, and mostly there is nothing to do, or another node does it: that takes no lock.
  -- A time in the future says nothing about its age: the clock went back.
  select coalesce(array_agg(h.sid) filter (where p.placed_at between v_now - c_pause and v_now is not true), '{}'),
         coalesce(array_agg(h.sid) filter (where p.placed_at between v_now - c_pause and v_now), '{}')
    into v_due, waiting
    from starcite.session_heads h
    left join starcite.session_progress p on p.sid = h.sid and p.sid = any (p_sids)
   where h.sid = any (p_sids) and h.last_seq > coalesce(p.last_seq, 0) and not h.erased;
  if v_due = '{}' and not exists (select from starcite.session_changes c where c.place is null) then
    return next;
    return;
  end if;

  select l.name into strict v_lock from starcite.locks l where l.name = 'lifecycle' for no key update;
  v_now := clock_timestamp();

  select coalesce(array_agg(f.change_id), '{}') into v_free
    from (select c.change_id from starcite.session_changes c
           where c.place is null
           order by c.change_id limit c_most
             for no key update skip locked) f;
  is_more := cardinality(v_free) = c_most;
  -- Those that another transaction holds. After a full batch none is examined, because there may be any number.
  v_last := case when is_more then (select max(f.id) from unnest(v_free) as f (id)) else 9223372036854775807 end;

  with held as materialized (
    select c.sid, c.change_id from starcite.session_changes c
     where c.place is null and c.change_id <= v_last and c.change_id <> all (v_free)
  ), change as (
    select f.change_id, f.sid, f.tenant_id, f.at, case when f.kind = 'created' then 2 else 1 end as places
      from starcite.session_changes f
     where f.change_id = any (v_free)
       and not exists (select from held k where k.sid = f.sid and k.change_id < f.change_id)
  ), progress as (
    select h.sid, s.tenant_id, h.last_seq
      from starcite.session_heads h
      join starcite.sessions s on s.sid = h.sid and s.sid = any (v_due)
      left join starcite.session_progress p on p.sid = h.sid and p.sid = any (v_due)
     where not is_more
       and h.sid = any (v_due) and h.last_seq > coalesce(p.last_seq, 0) and not h.erased
       and p.placed_at between v_now - c_pause and v_now is not true
       and not exists (select from held k where k.sid = h.sid)
  ), entry as (
    select c.tenant_id, c.change_id, null::bigint as sid, null::bigint as last_seq, c.places, c.at from change c
    union all
    select p.tenant_id, null, p.sid, p.last_seq, 1, v_now from progress p
  ), counted as (
    select e.*, sum(e.places) over w as place, count(e.change_id) over w as number
      from entry e
    window w as (partition by e.tenant_id order by e.change_id nulls last, e.sid rows unbounded preceding)
  ), grown as (
    select c.tenant_id, max(c.place) as places, max(c.number) as numbers,
           case when bool_or(c.sid is not null)
                then greatest(max(c.at),
                              (select f.at from starcite.session_changes f
                                where f.tenant_id = c.tenant_id and f.place is not null order by f.place desc limit 1),
                              (select p.placed_at from starcite.session_progress p
                                where p.tenant_id = c.tenant_id order by p.place desc limit 1))
            end as at
      from counted c group by c.tenant_id
  ), head as (
    insert into starcite.lifecycle_heads as l (tenant_id, place, number)
    select g.tenant_id, g.places, g.numbers from grown g
        on conflict (tenant_id) do update
       set place = l.place + excluded.place, number = l.number + excluded.number
    returning l.tenant_id, l.place, l.number
  ), placed as (
    select c.change_id, c.sid, c.tenant_id, c.last_seq, g.at,
           h.place - g.places + c.place as place, h.number - g.numbers + c.number as number
      from counted c
      join grown g on g.tenant_id = c.tenant_id
      join head h on h.tenant_id = c.tenant_id
  ), changed as (
    update starcite.session_changes c set place = p.place, number = p.number
      from placed p where c.change_id = p.change_id and c.change_id = any (v_free)
  ), told as (
    insert into starcite.session_progress as t (sid, tenant_id, place, last_seq, placed_at)
    select p.sid, p.tenant_id, p.place, p.last_seq, p.at from placed p where p.sid is not null
        on conflict (sid) do update
       set place = excluded.place, last_seq = excluded.last_seq, placed_at = excluded.placed_at
  )
  select coalesce((select array_agg(starcite.feed_key(h.tenant_id)) from head h), '{}'),
         coalesce((select array_agg(p.sid) from placed p where p.sid is not null), '{}')
    into feeds, v_placed;

  -- Also those that another node has reported meanwhile; one more call costs little.
  waiting := waiting || array(select d.sid from unnest(v_due) as d (sid) where d.sid <> all (v_placed));
  -- Postgres refuses a payload of 8,000 bytes or more, and a key has 20 with its comma.
  perform pg_notify('starcite_lifecycle', json_agg(k.key)::text)
     from unnest(feeds) with ordinality as k (key, o)
    where current_setting('starcite.notify', true) is distinct from 'off'
    group by k.o / 380;
  return next;
end
$$;
