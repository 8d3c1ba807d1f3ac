-- A value as jsonb, or null where it does not convert: where it has \u0000, half of a surrogate pair, a number of more than
-- 1,000 characters or one with an exponent of more than three digits. (Appends over HTTP have neither \u0000 nor such
-- numbers.) Never an error, so that one event cannot end a query over many. A function that tries and catches the error
-- could not run in parallel queries before Postgres 18, and pg_input_is_valid is not there before 16.
create or replace function starcite.as_jsonb(p_value json) returns jsonb
language plpgsql immutable strict parallel safe
as $$
declare
  c_exponent constant text := '\d[eE][+-]?\d{4}';
  c_long constant text := '[\d.]{250}[\d.]{250}[\d.]{250}[\d.]{250}[\d.]';
  v_text constant text := p_value::text;
  v_numbers text;
begin
  -- Without escaped backslashes every \u that is left begins an escape.
  if strpos(v_text, '\u') > 0
     and replace(v_text, '\\', '-') ~* ('\\u0000|\\ud[89ab][0-9a-f]{2}(?!\\ud[c-f][0-9a-f]{2})'
                                        '|(?<!\\ud[89ab][0-9a-f]{2})\\ud[c-f][0-9a-f]{2}') then
    return null;
  end if;
  if v_text ~ c_exponent or (length(v_text) > 1000 and v_text ~ '\d{200}') then
    v_numbers := regexp_replace(v_text, '"(?:[^"\\]|\\.)*"', '', 'g');
    if v_numbers ~ c_exponent or v_numbers ~ c_long then
      return null;
    end if;
  end if;
  return v_text::jsonb;
end
$$;
