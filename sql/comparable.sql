-- A value as jsonb, for comparison and checks. jsonb cannot hold half of a surrogate pair, which json keeps: a model
-- that streams its text sometimes cuts an emoji in two. So halves are replaced first, each by a text of its own. The
-- cast refuses U+0000.
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
