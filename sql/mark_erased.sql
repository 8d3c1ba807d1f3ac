-- Keeps session_heads.erased in step with sessions.erased_at. A trigger function of sessions.
create or replace function starcite.mark_erased() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  update starcite.session_heads h set erased = new.erased_at is not null where h.sid = new.sid;
  return null;
end
$$;

create or replace trigger sessions_mark_erased after update of erased_at on starcite.sessions
for each row execute function starcite.mark_erased();
