-- A time as every event and session shows it: RFC 3339, UTC, always six fractional digits.
create or replace function starcite.wire_time(p_at timestamptz) returns text
language sql stable parallel safe
return to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
