-- Merges the members of p_from over those of p_into, at the top level only. Members keep their place and their text;
-- new ones follow at the end.
create or replace function starcite.merge_members(p_into json, p_from json) returns json
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
  with member as (
    select m.key, m.value, m.o from json_each(p_into) with ordinality as m (key, value, o)
    union all
    select m.key, m.value, m.o + 1000000000 from json_each(p_from) with ordinality as m (key, value, o)
  ), merged as (
    select m.key, (array_agg(m.value order by m.o desc))[1] as value, min(m.o) as o from member m group by m.key
  )
  select ('{' || coalesce(string_agg(to_json(m.key)::text || ':' || m.value::text, ',' order by m.o), '') || '}')::json
    from merged m
$$;
