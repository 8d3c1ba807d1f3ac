-- The sessions of the tenants that the caller may read (starcite.readable_tenants), for the views of the schema audit. The
-- check of the tenant is in each branch a condition on the table itself, and one that the index over (tenant_id, id) serves:
-- a scan for a reader's `tenant = … and session = …` then never touches a row of another tenant, so that the row counts of
-- `explain (analyze)` say nothing about those. One condition with `or` in place of two branches would be a filter on what
-- that scan had found already.
--
-- `@>` means the same as `= any`, and serves scans without an index: it costs as much as a reader's `=`, so that it comes
-- first, and a row of another tenant is never compared with what the reader guesses. (`= any` costs more and would come last.)
create or replace view starcite.readable_sessions as
select s.sid, s.tenant_id, s.id, s.title, s.metadata, s.creator_principal, s.version, s.archived, s.created_at, s.updated_at,
       s.erased_at
  from starcite.sessions s
 where exists (select from starcite.readable_tenants r where r.tenant_id is null)
 union all
select s.sid, s.tenant_id, s.id, s.title, s.metadata, s.creator_principal, s.version, s.archived, s.created_at, s.updated_at,
       s.erased_at
  from starcite.sessions s
 where array(select r.tenant_id from starcite.readable_tenants r) @> array[s.tenant_id]
   and s.tenant_id = any (array(select r.tenant_id from starcite.readable_tenants r))
   and not exists (select from starcite.readable_tenants r where r.tenant_id is null);

comment on view starcite.readable_sessions is 'The sessions of the tenants that the caller may read by the views of audit.';
comment on column starcite.readable_sessions.sid is 'The session.';
comment on column starcite.readable_sessions.tenant_id is 'As in sessions, and so are all columns.';
comment on column starcite.readable_sessions.id is 'As in sessions.';
comment on column starcite.readable_sessions.title is 'As in sessions.';
comment on column starcite.readable_sessions.metadata is 'As in sessions.';
comment on column starcite.readable_sessions.creator_principal is 'As in sessions.';
comment on column starcite.readable_sessions.version is 'As in sessions.';
comment on column starcite.readable_sessions.archived is 'As in sessions.';
comment on column starcite.readable_sessions.created_at is 'As in sessions.';
comment on column starcite.readable_sessions.updated_at is 'As in sessions.';
comment on column starcite.readable_sessions.erased_at is 'As in sessions.';
