-- The tenants that the caller may read through the views of the schema audit; a row of null: all tenants. They are
-- those that starcite.tenant_grants has for a role that the caller is or is a member of; members of the owner and
-- superusers read all. In a view, current_user is the reader, also when the view is read through another one.
create or replace view starcite.readable_tenants as
select g.tenant_id
  from starcite.tenant_grants g
 where pg_has_role(current_user, g.grantee::oid, 'usage')
 union all
select null
  from pg_catalog.pg_class c
 where c.oid = 'starcite.tenant_grants'::regclass and pg_has_role(current_user, c.relowner, 'usage');

comment on view starcite.readable_tenants is 'The tenants that the caller may read through the views of audit.';
comment on column starcite.readable_tenants.tenant_id is 'The tenant; null: all of them.';
