-- breaking: no. Older nodes never look at these tables, and what they change is recorded by the trigger all the same.
-- What an older node creates in the moments between this and the installing of the trigger is not recorded.
--
-- session_changes is the record of what was done to sessions, by whom and when: for audits, and for the lifecycle feed.
-- How a change gets its place in its tenant's feed (docs/decisions/0009-changes-are-placed-after-they-commit.md):
--   recorded in the transaction of the change, by the trigger sessions_record_change; without a place
--   placed   soon after its commit, by starcite.place_changes, which one node at a time can be in: so places are handed
--            out in an order that every reader sees grow at its end only
-- Appends record nothing. That a session has moved on is noticed afterwards, and kept in session_progress: one row a
-- session, which moves to the end of the feed, at most once a second.
set local lock_timeout = '2s';

create table starcite.session_changes (
  change_id bigint generated always as identity primary key,
  sid bigint not null references starcite.sessions (sid),
  tenant_id text collate "C" not null,
  kind text not null,
  at timestamptz not null,
  actor text,
  request_id text,
  version bigint not null,
  title text,
  metadata json,
  place bigint,
  number bigint,
  constraint session_changes_kind_is_known check (kind in ('created', 'updated', 'archived', 'unarchived', 'erased')),
  constraint session_changes_is_placed_and_numbered check ((place is null) = (number is null)),
  constraint session_changes_place_key unique (tenant_id, place)
);
comment on table starcite.session_changes is 'Who did what to which session, and when. Rows are added with the change itself, and stay.';
comment on column starcite.session_changes.change_id is 'Of one session, in the order of its changes. Over several sessions not the order of commits: place is.';
comment on column starcite.session_changes.kind is 'created, updated (title or metadata), archived, unarchived, erased.';
comment on column starcite.session_changes.at is 'What the session then had as created_at, updated_at or erased_at.';
comment on column starcite.session_changes.actor is 'Subject of the token, or the setting starcite.actor of the transaction; null when there was neither.';
comment on column starcite.session_changes.request_id is 'X-Request-Id of the request, or the setting starcite.request_id of the transaction; null when there was neither.';
comment on column starcite.session_changes.version is 'The session''s after the change.';
comment on column starcite.session_changes.title is 'After the change, of what was created or updated. Null when the session is erased.';
comment on column starcite.session_changes.metadata is 'After the change, of what was created or updated. Null when the session is erased.';
comment on column starcite.session_changes.place is 'Where it stands in the feed of its tenant; null until it is placed. A created session takes this place and the one before.';
comment on column starcite.session_changes.number is 'Counts the placed changes of the tenant: 1, 2, 3 ... without a hole.';
create index session_changes_sid_idx on starcite.session_changes (sid, change_id);
create index session_changes_unplaced_idx on starcite.session_changes (change_id) where place is null;

-- sid refers to no session, for Postgres: checking that would make every feed wait for whoever holds one session's row.
create table starcite.session_progress (
  sid bigint primary key,
  tenant_id text collate "C" not null,
  place bigint not null,
  last_seq bigint not null,
  placed_at timestamptz not null,
  constraint session_progress_place_key unique (tenant_id, place)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
comment on table starcite.session_progress is 'How far each session''s log was when the feed last told of it.';
comment on column starcite.session_progress.place is 'Where that stands in the feed of its tenant.';
comment on column starcite.session_progress.placed_at is 'When; the next time is at least a second later.';

create table starcite.lifecycle_heads (
  tenant_id text collate "C" primary key,
  place bigint not null,
  number bigint not null
) with (fillfactor = 50);
comment on table starcite.lifecycle_heads is 'The end of each tenant''s feed.';
comment on column starcite.lifecycle_heads.place is 'The last place that was given.';
comment on column starcite.lifecycle_heads.number is 'How many changes have one.';

-- Readers of SQL see those of their tenants, as of sessions.
alter table starcite.session_changes enable row level security;
alter table starcite.session_progress enable row level security;
alter table starcite.lifecycle_heads enable row level security;

create policy granted_tenants on starcite.session_changes for select
  using (tenant_id = any (array(select g.tenant_id from starcite.tenant_grants g))
         or exists (select from starcite.tenant_grants g where g.tenant_id is null));
create policy granted_tenants on starcite.session_progress for select
  using (tenant_id = any (array(select g.tenant_id from starcite.tenant_grants g))
         or exists (select from starcite.tenant_grants g where g.tenant_id is null));
create policy granted_tenants on starcite.lifecycle_heads for select
  using (tenant_id = any (array(select g.tenant_id from starcite.tenant_grants g))
         or exists (select from starcite.tenant_grants g where g.tenant_id is null));

-- Sessions of before, as they are now.
insert into starcite.session_changes (sid, tenant_id, kind, at, actor, version, title, metadata)
select s.sid, s.tenant_id, 'created', s.created_at, s.creator_principal ->> 'id', s.version,
       case when s.erased_at is null then s.title end, case when s.erased_at is null then s.metadata end
  from starcite.sessions s
 order by s.sid;
