-- breaking: no. An older job erases by age without waiting, and leaves digests as it did; finish the deploy.
--
-- What is due by age is first requested, and erased once the request is older than STARCITE_RETENTION_GRACE and the session or
-- segment is still due. The grace is counted in seconds that jobs have watched pass on their own monotonic clocks, so a jump of
-- the database's clock makes nothing pass; a clock that runs ahead of those seconds is distrusted, and then nothing is
-- requested or erased by age (sql/observe_clock.sql).
set local lock_timeout = '2s';

create table starcite.retention_clock (
  retention_clock_id boolean primary key default true,
  trusted_at timestamptz not null default clock_timestamp(),
  observed_seconds double precision not null default 0,
  ahead interval,
  distrusted_at timestamptz,
  constraint retention_clock_is_one_row check (retention_clock_id)
);
alter table starcite.retention_clock enable row level security;
insert into starcite.retention_clock default values;
comment on table starcite.retention_clock is 'One row: how far the database''s clock is trusted for erasing by age (starcite.observe_clock).';
comment on column starcite.retention_clock.retention_clock_id is 'Always true.';
comment on column starcite.retention_clock.trusted_at is 'The database''s clock when a job last found it right.';
comment on column starcite.retention_clock.observed_seconds is 'Seconds that jobs have watched pass, by monotonic clocks, in all; what graces are counted in.';
comment on column starcite.retention_clock.ahead is 'How far the clock was found to run ahead; null: it is trusted.';
comment on column starcite.retention_clock.distrusted_at is 'The database''s clock when it was first found to run ahead; null: it is trusted.';

create table starcite.retention_requests (
  retention_request_id bigint generated always as identity primary key,
  tenant_id text collate "C" not null,
  sid bigint references starcite.sessions (sid),
  segment text references starcite.segments (name),
  requested_at timestamptz not null default clock_timestamp(),
  requested_seconds double precision not null,
  constraint retention_requests_name_one_thing check ((sid is null) <> (segment is null)),
  constraint retention_requests_session_once unique (sid),
  constraint retention_requests_segment_once unique (segment, tenant_id)
);
alter table starcite.retention_requests enable row level security;
comment on table starcite.retention_requests is 'What the rules of retention will erase once the grace is over, unless it is held, used, or no longer due by then.';
comment on column starcite.retention_requests.retention_request_id is 'In the order in which they were made.';
comment on column starcite.retention_requests.tenant_id is 'The tenant.';
comment on column starcite.retention_requests.sid is 'The session that will be erased; null for a segment.';
comment on column starcite.retention_requests.segment is 'The segment whose content of the tenant will be erased; null for a session.';
comment on column starcite.retention_requests.requested_at is 'When it was found to be due, by the database''s clock.';
comment on column starcite.retention_requests.requested_seconds is 'retention_clock.observed_seconds then.';

-- Retention left the digests of events that it emptied in producers. They have no salt, so they would confirm a guess. The job
-- takes them out, some erasures in each pass, behind the erasure that this says (src/tiering/retention/).
insert into starcite.settings (name, value) values ('retention_digests_cursor', '0');
