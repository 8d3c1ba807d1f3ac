-- starcite.canonical of a value that may have numbers which its jsonb writes out at length; the same result for every
-- other value.
create or replace function starcite.canonical_long(p_value json) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
declare
  c_most constant int := 1000000;
  c_few constant int := 32;  -- starcite.canonical does not call this for fewer numbers
  c_mark constant text := E'\x01';  -- occurs in no JSON text
  c_token constant text := $r$("(?:[^"\\]|\\.)*")|-?\d[\d.]*(?:[eE][+-]?\d+)?$r$;
  v_text text := p_value::text;
  v_json constant jsonb := starcite.comparable(p_value);
  v_zeros bigint;
  v_numbers text;
begin
  -- numeric_send: the number of digits to the base 10,000, the weight of the first, the sign, and the scale, two
  -- bytes each; then the digits.
  select coalesce(sum(greatest(0, 4 * greatest(0, (n.weight + 32768) % 65536 - 32767) + n.scale - 4 * n.digits - c_few)), 0),
         encode(sha256(coalesce(string_agg(n.sent, '' order by n.o), '')), 'hex')
    into v_zeros, v_numbers
    from (select s.sent, s.o, get_byte(s.sent, 0) * 256 + get_byte(s.sent, 1) as digits,
                 get_byte(s.sent, 2) * 256 + get_byte(s.sent, 3) as weight,
                 get_byte(s.sent, 6) * 256 + get_byte(s.sent, 7) as scale
            from (select numeric_send(q.number::numeric) as sent, q.o
                    from jsonb_array_elements(
                           jsonb_path_query_array(v_json, 'strict $.** ? (@.type() == "number")'))
                           with ordinality as q (number, o)) s) n;
  if v_zeros <= c_most then
    return v_json::text;
  end if;
  v_text := replace(replace(regexp_replace(v_text, c_token, $r$\1$r$ || c_mark, 'g'), '"' || c_mark, '"'), c_mark, '0');
  return starcite.comparable(v_text::json)::text || v_numbers;
end
$$;
