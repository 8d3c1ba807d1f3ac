-- A JSON text of a value, to compare it by: two values have the same one when they differ in nothing but white space, the
-- order of keys, how characters are escaped and how numbers are spelled. 1 and 1.0 differ, 1e1 and 10 do not.
--
-- It is the text of the value's jsonb, as it always was, unless that is much longer than the value: jsonb stores 1e999 in
-- a few bytes, but writes it out in full. Past c_most zeros more than the digits that a number has, numbers are put in
-- another place, in the form in which Postgres sends them: the text is then that of the value with 0 for each number,
-- and behind it a digest of the numbers. So the text is at most seven times as long as the value, or c_most longer.
create or replace function starcite.canonical(p_value json) returns text
language plpgsql immutable parallel safe
as $$
declare
  c_most constant int := 1000000;
  -- Numbers of smaller exponents have fewer zeros than c_few, whatever else they are made of.
  c_exponent constant text := $r$\d[eE][+-]?0*(?:[3-9]\d|[1-9]\d\d)$r$;
  c_few constant int := 32;
  c_mark constant text := E'\x01';  -- stands in no JSON text
  c_token constant text := $r$("(?:[^"\\]|\\.)*")|-?\d[\d.]*(?:[eE][+-]?\d+)?$r$;
  v_text text := p_value::text;
  v_json constant jsonb := starcite.comparable(p_value);
  v_zeros bigint;
  v_numbers text;
begin
  if v_text is null or (length(v_text) <= c_most and v_text !~ c_exponent) then
    return v_json::text;
  end if;

  -- numeric_send: how many digits to the base 10,000 it has, the weight of the first, the sign, and the scale, of two
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
