-- A JSON text of a value, to compare it by: two values have the same one when they differ in nothing but white space, the
-- order of keys, how characters are escaped and how numbers are spelled. 1 and 1.0 differ, 1e1 and 10 do not.
--
-- It is the text of the value's jsonb, as it always was, unless that is much longer than the value: jsonb stores 1e999 in
-- a few bytes, but writes it out in full. Past c_most zeros more than the digits that a number has, numbers are put in
-- another place, in the form in which Postgres sends them: the text is then that of the value with 0 for each number,
-- and behind it a digest of the numbers. So the text is at most seven times as long as the value, or c_most longer.
--
-- 2,000 characters hold too few numbers for c_most zeros, a thousand at most each. Numbers of a smaller exponent than those
-- looked for have at most 32 zeros more than digits, so that only c_most characters of them have too many. The usual value
-- is compared without a call: this is inlined.
create or replace function starcite.canonical(p_value json) returns text
language sql immutable parallel safe
return case
  when length(p_value::text) <= 2000
    or length(p_value::text) <= 1000000 and p_value::text !~ $r$\d[eE][+-]?0*(?:[3-9]\d|[1-9]\d\d)$r$
  then starcite.comparable(p_value)::text
  else starcite.canonical_long(p_value)
end;
