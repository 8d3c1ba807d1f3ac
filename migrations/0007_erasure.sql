-- breaking: no. Older nodes know nothing of erasures, but answer session_erased all the same (session_heads.erased). What
-- they keep of a session's events in memory they forget late; so finish the deploy before you erase anything.
--
-- How content is erased (sql/erase_session.sql, sql/redact_event.sql and src/tiering/erase/ do it):
--   requested in one transaction: readers are told session_erased, or shown the event without its content; a row of
--             erasures is the request, its receipt and its progress
--   removed   by the tiering job, under the job's lock: rows are emptied, objects rewritten without the content, the
--             manifest switched, the objects of before deleted; each step committed, each repeatable
--   done      nothing that this database or its object store shows has the content any more
-- Digests and hashes stay, so every chain still verifies.
set local lock_timeout = '2s';

alter table starcite.session_heads add column epoch int not null default 0;
comment on column starcite.session_heads.epoch is 'Counts removals of content. What a node keeps in memory from an earlier epoch, it forgets.';

create table starcite.erasures (
  erasure_id bigint generated always as identity primary key,
  id uuid not null unique default gen_random_uuid(),
  kind text not null,
  tenant_id text collate "C" not null,
  sid bigint references starcite.sessions (sid),
  first_seq bigint,
  last_seq bigint,
  segment text references starcite.segments (name),
  subject text,
  request_id text,
  reason text,
  requested_at timestamptz not null default clock_timestamp(),
  chain_hash bytea,
  vacuum boolean not null default false,
  state text not null default 'pending',
  done_object_id bigint not null default 0,
  hot_events bigint not null default 0,
  cold_events bigint not null default 0,
  objects bigint not null default 0,
  completed_at timestamptz,
  rechecked boolean not null default false,
  last_error text,
  constraint erasures_kind_is_known check (kind in ('session', 'event', 'segment')),
  constraint erasures_state_is_known check (state in ('pending', 'done')),
  constraint erasures_covers_a_session_or_a_segment check (
    (kind = 'segment') = (segment is not null) and (sid is null) = (segment is not null)
    and (first_seq is null) = (sid is null) and (last_seq is null) = (sid is null))
);
comment on table starcite.erasures is 'Who erased what, when and why, and how far the removal has come. Rows are never deleted.';
comment on column starcite.erasures.id is 'Names the erasure outside: in receipts, and at GET /v1/erasures/:id.';
comment on column starcite.erasures.kind is 'session: all of it; event: one (redacted); segment: all that a tenant had in one segment, by retention.';
comment on column starcite.erasures.first_seq is 'First event of the session whose content goes; null for a segment.';
comment on column starcite.erasures.last_seq is 'Last event of the session whose content goes; 0 when it has none.';
comment on column starcite.erasures.subject is 'Who asked: subject of the token, or what an SQL caller said. Retention is ''retention''.';
comment on column starcite.erasures.chain_hash is 'The hash that the session''s chain ends with, which every later verification must find.';
comment on column starcite.erasures.vacuum is 'Whether to vacuum the tables that had the content before it is done.';
comment on column starcite.erasures.state is 'pending, or done.';
comment on column starcite.erasures.done_object_id is 'Objects up to this one need no look any more.';
comment on column starcite.erasures.hot_events is 'Events whose content was removed from the partitions of events.';
comment on column starcite.erasures.cold_events is 'Events whose content was removed from objects.';
comment on column starcite.erasures.objects is 'Objects that were rewritten.';
comment on column starcite.erasures.rechecked is 'Whether the store was looked through once more, some time after it was done, for what a dying process wrote late.';
comment on column starcite.erasures.last_error is 'Why the last attempt did not come to the end; null once it did.';
-- Readers of SQL see those of the tenants that they are granted (0004_readers_see_their_tenants.sql).
alter table starcite.erasures enable row level security;
create policy granted_tenants on starcite.erasures for select
  using (tenant_id = any (array(select g.tenant_id from starcite.tenant_grants g))
         or exists (select from starcite.tenant_grants g where g.tenant_id is null));
create index erasures_pending_idx on starcite.erasures (erasure_id) where state = 'pending';
create index erasures_recheck_idx on starcite.erasures (completed_at) where state = 'done' and not rechecked;
create index erasures_sid_idx on starcite.erasures (sid, first_seq) where sid is not null;
create unique index erasures_session_once on starcite.erasures (sid) where kind = 'session';
create unique index erasures_segment_once on starcite.erasures (segment, tenant_id) where kind = 'segment';

create table starcite.superseded_objects (
  key text collate "C" primary key,
  superseded_at timestamptz not null default clock_timestamp()
);
comment on table starcite.superseded_objects is 'Objects that others without the erased content have taken the place of; deleted from the store as soon as it lets.';

create table starcite.legal_holds (
  sid bigint primary key references starcite.sessions (sid),
  subject text,
  reason text,
  held_at timestamptz not null default clock_timestamp()
);
comment on table starcite.legal_holds is 'Sessions of which nothing may be erased now (starcite.hold_session, starcite.release_session).';

create table starcite.retention_rules (
  tenant_id text collate "C",
  content_after interval,
  session_after interval,
  constraint retention_rules_once unique (tenant_id)
);
create unique index retention_rules_default_once on starcite.retention_rules ((tenant_id is null)) where tenant_id is null;
comment on table starcite.retention_rules is 'What is erased by age (starcite.set_retention). A tenant''s own row takes the place of the default as a whole.';
comment on column starcite.retention_rules.tenant_id is 'The tenant; null: every tenant without a row of its own.';
comment on column starcite.retention_rules.content_after is 'The content of events is erased once their segment''s end is older; null: never.';
comment on column starcite.retention_rules.session_after is 'A session is erased once nothing happened to it for so long; null: never.';

insert into starcite.settings (name, value) values ('retention_cursor', '0');
