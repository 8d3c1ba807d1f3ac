-- A value as jsonb, to compare it and to check it. jsonb cannot hold half of a surrogate pair, which json keeps: a model
-- that streams its text cuts an emoji in two now and then. So halves are spelled otherwise first, each its own way.
-- U+0000 is refused, by the cast.
create or replace function starcite.comparable(p_value json) returns jsonb
language sql immutable parallel safe
return case
  when strpos(p_value::text, '\ud') = 0 and strpos(p_value::text, '\uD') = 0 then p_value::jsonb
  else regexp_replace(
         regexp_replace(
           replace(p_value::text, '\\', '\u005c'),  -- so that every \u left begins an escape
           '\\u(d[89ab][0-9a-f]{2})(?!\\ud[c-f][0-9a-f]{2})', '\\u0001\1', 'gi'),
         '(?<!\\ud[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})', '\\u0001\1', 'gi')::jsonb
end;
