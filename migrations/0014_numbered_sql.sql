-- breaking: no. Older nodes read the columns that they know, and never look at the new tables.
--
-- The files of sql/ carry a number that only grows (sql/installation.json). What is installed has the number of the build
-- that brought it: a build replaces what has a lower number and leaves what has a higher one. Rows of earlier builds, which
-- had no numbers, have 0.
--
-- The secret is for names that other logins of the server must not be able to guess: of advisory locks, of channels, of
-- tenants in notifications. Use it through starcite.secret_key(purpose), which derives a key for each purpose.
set local lock_timeout = '2s';

alter table starcite.installed_objects add column number bigint not null default 0, add column fingerprint text;
comment on table starcite.installed_objects is 'Functions and views as installed: the digest of each one''s file, and the build that brought it.';
comment on column starcite.installed_objects.number is 'The number of that build''s sql/installation.json: the highest that was installed here. 0: by a build that had none.';
comment on column starcite.installed_objects.fingerprint is 'Of what the catalog had of it once it was installed, with the major version of Postgres before it: what is there now is compared with it.';
comment on column starcite.installed_objects.release is 'The release of that build.';

create table starcite.installed_tables (
  relation text not null,
  part text not null,
  definition text not null,
  server_version int not null,
  constraint installed_tables_pkey primary key (relation, part)
);
comment on table starcite.installed_tables is 'What the tables of the schema had once migrations had been applied, part by part: what is there now is compared with it.';
comment on column starcite.installed_tables.relation is 'The table.';
comment on column starcite.installed_tables.part is 'A column, constraint, index or policy, with its name; or row security.';
comment on column starcite.installed_tables.definition is 'As the catalog words it.';
comment on column starcite.installed_tables.server_version is 'server_version_num of the Postgres whose words they are.';

create table starcite.installation_secret (
  only_row boolean primary key default true,
  secret bytea not null,
  constraint installation_secret_is_one_row check (only_row),
  constraint installation_secret_is_long check (octet_length(secret) = 32)
);
-- Without a policy it shows nothing, also to a role that is granted SELECT on all tables of the schema.
alter table starcite.installation_secret enable row level security;
comment on table starcite.installation_secret is 'Random bytes of this installation; starcite.secret_key derives keys from them. Only the owner reads them.';
comment on column starcite.installation_secret.only_row is 'There is one row.';
comment on column starcite.installation_secret.secret is 'Made when the table was.';
-- Each UUID has 122 bits of Postgres's strong random source.
insert into starcite.installation_secret (secret)
select pg_catalog.sha256(pg_catalog.uuid_send(pg_catalog.gen_random_uuid()) || pg_catalog.uuid_send(pg_catalog.gen_random_uuid())
                         || pg_catalog.uuid_send(pg_catalog.gen_random_uuid()));
