-- A JSON text of a value, for comparison: two values have the same one when they differ only in white space, the
-- order of keys, how characters are escaped and how numbers are written. 1 and 1.0 differ, and so do 1e1 and 10.
--
-- It is the text of the value's jsonb, as in earlier releases, unless that is much longer than the value: jsonb
-- stores 1e999 in a few bytes, but writes it out in full. When numbers have more than c_most zeros beyond their
-- digits, the result is the text of the value with 0 for each number, followed by a digest of the numbers in the form
-- in which Postgres sends them. So the text is at most seven times as long as the value, or c_most longer.
--
-- 2,000 characters hold too few numbers for c_most zeros, with a thousand at most each. Numbers of a smaller exponent
-- than the pattern's have at most 32 zeros more than digits, so that only c_most characters of them have too many.
-- Usual values are compared without a call: this is inlined.
create or replace function starcite.canonical(p_value json) returns text
language sql immutable parallel safe
return case
  when length(p_value::text) <= 2000
    or length(p_value::text) <= 1000000 and p_value::text !~ $r$\d[eE][+-]?0*(?:[3-9]\d|[1-9]\d\d)$r$
  then starcite.comparable(p_value)::text
  else starcite.canonical_long(p_value)
end;
