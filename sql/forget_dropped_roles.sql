-- Deletes the rows of tenant_grants whose role was dropped. Their OID would stay: a dump writes it as a number, and
-- after a restore the number may be another role's. A trigger function of tenant_grants; each migration does the
-- same.
create or replace function starcite.forget_dropped_roles() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  delete from starcite.tenant_grants g where not exists (select from pg_roles r where r.oid = g.grantee);
  return null;
end
$$;

create or replace trigger tenant_grants_forget_dropped_roles after insert or update on starcite.tenant_grants
for each statement execute function starcite.forget_dropped_roles();
