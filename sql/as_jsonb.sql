-- A value as jsonb, or null when it does not convert: when it has \u0000, half of a surrogate pair, a number of more
-- than 1,000 characters or one with an exponent of more than three digits. (Appends over HTTP have neither \u0000 nor
-- such numbers.) It never raises, so that one event cannot end a query over many. A function that catches the error
-- could not run in parallel queries before Postgres 18, and pg_input_is_valid does not exist before 16.
--
-- Every name and operator is qualified, because it runs with the search path of the reader of a view. `set
-- search_path`, which other functions have instead, would cost a fifth of the time of reading payload_jsonb.
create or replace function starcite.as_jsonb(p_value json) returns jsonb
language plpgsql immutable strict parallel safe
as $$
declare
  c_exponent constant pg_catalog.text := $r$\d[eE][+-]?\d{4}$r$;
  c_long constant pg_catalog.text := $r$[\d.]{250}[\d.]{250}[\d.]{250}[\d.]{250}[\d.]$r$;
  v_text constant pg_catalog.text := p_value::pg_catalog.text;
  v_numbers pg_catalog.text;
begin
  -- Without escaped backslashes every \u that is left begins an escape.
  if pg_catalog.strpos(v_text, $r$\u$r$) operator(pg_catalog.>) 0
     and pg_catalog.replace(v_text, $r$\\$r$, '-') operator(pg_catalog.~*)
           ($r$\\u0000|\\ud[89ab][0-9a-f]{2}(?!\\ud[c-f][0-9a-f]{2})$r$
            operator(pg_catalog.||) $r$|(?<!\\ud[89ab][0-9a-f]{2})\\ud[c-f][0-9a-f]{2}$r$) then
    return null;
  end if;
  if v_text operator(pg_catalog.~) c_exponent
     or (pg_catalog.length(v_text) operator(pg_catalog.>) 1000 and v_text operator(pg_catalog.~) $r$\d{200}$r$) then
    v_numbers := pg_catalog.regexp_replace(v_text, $r$"(?:[^"\\]|\\.)*"$r$, '', 'g');
    if v_numbers operator(pg_catalog.~) c_exponent or v_numbers operator(pg_catalog.~) c_long then
      return null;
    end if;
  end if;
  return v_text::pg_catalog.jsonb;
end
$$;
