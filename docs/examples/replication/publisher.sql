-- Run this on the primary, whose wal_level is logical, as a member of the owner who may create in the database.
-- docs/audit.md, "Downstream", describes what is published.
create publication starcite for table starcite.sessions, starcite.events, starcite.session_changes
  with (publish = 'insert, update', publish_via_partition_root = true);

-- The login of the subscriber: it copies the existing rows first, and then receives the changes.
create role starcite_mirror_reader login replication password 'change me';
grant usage on schema starcite to starcite_mirror_reader;
grant select on starcite.sessions, starcite.events, starcite.session_changes, starcite.tenant_grants
  to starcite_mirror_reader;
insert into starcite.tenant_grants (grantee, tenant_id) values ('starcite_mirror_reader', null);
