-- breaking: no. Older nodes read what this adds as they read what was there: the cold events of a segment that keeps events
-- are found in its objects (state dropped), the kept ones in events. Their job never touches a dropped segment; but it knows
-- no session that is set aside, so finish the deploy soon.
--
-- How a damaged session is set aside (src/tiering/ does it): the job recomputes digests and hash chain while it copies. The
-- first event of a session that does not hold ends the copying of that session. It is noted here, and from then on:
--   the session's events before it move as those of every other session do
--   that event and all later ones stay in Postgres, in this segment and in every later one, so the cold part of the session
--             stays a prefix of its log
--   a segment that has such events is not truncated: what was copied is deleted from it in the transaction that shows the
--             objects. Its partition stays, with kept_events, until it is empty
-- At the beginning of each pass the job looks at the event again. Once it holds, or is given up, what was kept moves, oldest
-- segment first; each object becomes visible in the transaction that deletes its events from the partition.
set local lock_timeout = '2s';

alter table starcite.segments add column kept_events bigint;
comment on column starcite.segments.kept_events is 'How many events of sessions that are set aside its partition has kept when it was moved; null: none, or they have moved since.';

alter table starcite.slices
  add column last_hash bytea,
  add column last_chain_version smallint,
  -- Not valid, so that no row is read under the lock: those of before have null.
  add constraint slices_last_hash_is_sha256 check (octet_length(last_hash) = 32) not valid;
comment on column starcite.slices.last_hash is 'Hash of the last event of the slice, which the next event has to follow; null: moved by an older release, to be read from the object.';

comment on column starcite.slices.last_chain_version is 'Form of that hash (events.chain_version): the next event has no older one.';

create table starcite.set_aside (
  set_aside_id bigint generated always as identity primary key,
  sid bigint not null,
  seq bigint not null,
  reason text not null,
  detail text not null,
  since timestamptz not null default clock_timestamp(),
  checked_at timestamptz not null default clock_timestamp(),
  given_up_at timestamptz,
  given_up_by text,
  given_up_why text,
  given_up_through bigint,
  ended_at timestamptz,
  outcome text,
  constraint set_aside_reason_is_known check (reason in ('missing', 'duplicate', 'changed', 'broken', 'head')),
  constraint set_aside_outcome_is_known check (outcome in ('mended', 'given_up')),
  constraint set_aside_ends_with_an_outcome check ((ended_at is null) = (outcome is null)),
  constraint set_aside_is_given_up_as_a_whole check ((given_up_at is null) = (given_up_through is null))
);
comment on table starcite.set_aside is 'Sessions that the tiering job does not move because their log is damaged, and those that were. Rows are never deleted.';
comment on column starcite.set_aside.set_aside_id is 'Names the finding.';
comment on column starcite.set_aside.since is 'When it was found.';
comment on column starcite.set_aside.sid is 'The session. No foreign key: that its row is missing may be the damage.';
comment on column starcite.set_aside.seq is 'The first event that does not hold.';
comment on column starcite.set_aside.reason is 'missing, duplicate, changed, broken or head, as in audit.verify.';
comment on column starcite.set_aside.detail is 'In words: what was found.';
comment on column starcite.set_aside.checked_at is 'When the job looked last.';
comment on column starcite.set_aside.given_up_at is 'When an operator decided that it is moved as it is (starcite.give_up_session); null: nobody did.';
comment on column starcite.set_aside.given_up_by is 'Who decided.';
comment on column starcite.set_aside.given_up_why is 'Why, in the words of who decided.';
comment on column starcite.set_aside.given_up_through is 'Events up to this one are moved unverified; what was appended later is verified again.';
comment on column starcite.set_aside.ended_at is 'When the job had moved what it had kept; null: the session is set aside.';
comment on column starcite.set_aside.outcome is 'mended: the event held when it was looked at again; given_up: it was moved as it is.';
create unique index set_aside_once on starcite.set_aside (sid) where ended_at is null;
create index set_aside_sid_idx on starcite.set_aside (sid);
-- Read by the view audit.set_aside; no role but the owner has the table.
alter table starcite.set_aside enable row level security;

-- It answers more columns now, and a function's columns cannot be replaced.
drop function if exists audit.verify(text, text);
