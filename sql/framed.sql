-- Length-prefixes a value: '<bytes>:<value>', or '-' when absent. Concatenated values can then be read in one way
-- only, so no two different events share the bytes that are hashed.
create or replace function starcite.framed(p_value text) returns text
language sql immutable parallel safe
return coalesce(octet_length(p_value)::text || ':' || p_value, '-');
