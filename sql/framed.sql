-- A value made self-delimiting: '<bytes>:<value>', or '-' when absent. Concatenated values then have one reading
-- only, so no two different events share the bytes that are hashed.
create or replace function starcite.framed(p_value text) returns text
language sql immutable parallel safe
return coalesce(octet_length(p_value)::text || ':' || p_value, '-');
