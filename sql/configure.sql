-- Stores a node's configuration when it starts: the width of new segments, and how long they stay hot. Nodes cannot
-- write settings in any other way, because closed_before, in the same table, is part of what keeps tiers apart.
-- Refuses unusable values (22023): a width that is not above zero, not finite, or counted in months, which differ in
-- length; a retention below zero; and anything longer than a thousand years, before which Postgres has no time to
-- compare with.
create or replace function starcite.configure(p_segment_interval interval, p_hot_retention interval) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  c_longest constant interval := interval '365000 days';
begin
  if p_segment_interval is null or not isfinite(p_segment_interval) or p_segment_interval < interval '1 second'
     or p_segment_interval > c_longest
     or extract(year from p_segment_interval) <> 0 or extract(month from p_segment_interval) <> 0 then
    raise exception 'the width of segments must be a second or more, a thousand years at most, and without months; % is not', p_segment_interval
      using errcode = 'invalid_parameter_value', hint = 'Look at STARCITE_SEGMENT_INTERVAL.';
  end if;
  if p_hot_retention is null or not isfinite(p_hot_retention) or p_hot_retention < interval '0' or p_hot_retention > c_longest then
    raise exception 'events stay hot for no time or longer, a thousand years at most; % is not', p_hot_retention
      using errcode = 'invalid_parameter_value', hint = 'Look at STARCITE_HOT_RETENTION.';
  end if;
  update starcite.settings s set value = v.value
    from (values ('segment_interval', p_segment_interval::text), ('hot_retention', p_hot_retention::text))
           as v (name, value)
   where s.name = v.name and s.value <> v.value;
end
$$;
