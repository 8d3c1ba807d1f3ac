-- breaking: no. Nodes of before filter by another expression; without its index they walk the tenant's own sessions.
--
-- The index of metadata filters holds the tenant too, as the outermost key. Looking up what one tenant asks for then
-- touches no row of another, and takes no longer for what others have.
set local lock_timeout = '2s';

-- squawk-ignore require-concurrent-index-creation
create index sessions_tenant_metadata_idx on starcite.sessions
  using gin (jsonb_set('{}', array[tenant_id], metadata::jsonb) jsonb_path_ops);
-- squawk-ignore require-concurrent-index-deletion
drop index starcite.sessions_metadata_idx;
