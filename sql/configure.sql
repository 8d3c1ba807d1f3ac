-- What a node that starts says of its configuration: how wide new segments are, and how long they stay hot. Nodes cannot
-- write settings otherwise: closed_before, which stands beside these, is part of what keeps tiers apart.
create or replace function starcite.configure(p_segment_interval interval, p_hot_retention interval) returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$
  update starcite.settings s set value = v.value
    from (values ('segment_interval', p_segment_interval::text), ('hot_retention', p_hot_retention::text))
           as v (name, value)
   where s.name = v.name and s.value <> v.value
$$;
