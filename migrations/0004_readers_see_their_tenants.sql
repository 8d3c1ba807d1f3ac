-- breaking: no. Whoever owns the tables is not subject to row security, and until now nobody else was granted anything.
--
-- Row security guards the tenants for whoever is granted SELECT here and is not the owner. Nodes are not slowed: a node's
-- role has a policy of its own, `true` (starcite.grant_roles), which the planner removes, and procedures run as the owner.
--
-- A policy counts where the query names the table. So a partition of events, asked directly, would be open to a reader of
-- its own: none has a grant, and each has row security without a policy, which shows nothing to anybody but the owner.
set local lock_timeout = '2s';

create table starcite.tenant_grants (
  grantee regrole not null,
  tenant_id text collate "C",
  constraint tenant_grants_once unique (grantee, tenant_id)
);
comment on table starcite.tenant_grants is 'Which tenants'' rows a database role may read, where it is granted SELECT and is not the owner.';
comment on column starcite.tenant_grants.grantee is 'The role, or one that it is a member of.';
comment on column starcite.tenant_grants.tenant_id is 'The tenant; null: all of them, those to come included.';

alter table starcite.tenant_grants enable row level security;
alter table starcite.sessions enable row level security;
alter table starcite.session_heads enable row level security;
alter table starcite.producers enable row level security;
alter table starcite.events enable row level security;
alter table starcite.objects enable row level security;
alter table starcite.slices enable row level security;
do $$
declare
  v_name text;
begin
  for v_name in select c.relname from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
                 where i.inhparent = 'starcite.events'::regclass loop
    execute format('alter table starcite.%I enable row level security', v_name);
  end loop;
end
$$;

create policy own_grants on starcite.tenant_grants for select
  using (pg_has_role(current_user, grantee::oid, 'usage'));

-- The sub-selects stand alone, so each is run once a query.
create policy granted_tenants on starcite.sessions for select
  using (tenant_id = any (array(select g.tenant_id from starcite.tenant_grants g))
         or exists (select from starcite.tenant_grants g where g.tenant_id is null));
create policy granted_tenants on starcite.objects for select
  using (tenant_id = any (array(select g.tenant_id from starcite.tenant_grants g))
         or exists (select from starcite.tenant_grants g where g.tenant_id is null));

-- Of those sessions that the reader sees.
create policy granted_tenants on starcite.session_heads for select
  using (exists (select from starcite.sessions s where s.sid = session_heads.sid));
create policy granted_tenants on starcite.producers for select
  using (exists (select from starcite.sessions s where s.sid = producers.sid));
create policy granted_tenants on starcite.events for select
  using (exists (select from starcite.sessions s where s.sid = events.sid));
create policy granted_tenants on starcite.slices for select
  using (exists (select from starcite.sessions s where s.sid = slices.sid));
