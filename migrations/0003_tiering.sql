-- breaking: no. Older nodes know one kind of segment only, and no release before this one moves any: a segment is moved
-- only after every node of the older release is gone, because the first thing a mover does is wait for its retention.
--
-- How a segment leaves, each step committed before the next, each repeatable (sql/ and src/tiering/ do it):
--   hot     appends go in
--   closed  `closed_before` has passed its end, and a constraint refuses inserts, so what is read now stays what there is;
--           objects are written, read back, and noted in objects and slices, not yet visible to readers
--   moved   in one transaction: visible in the manifest, and truncated; from here on readers find its events in objects
--   dropped the partition is detached and gone
-- Segments move oldest first and inserted_at never runs backwards in a session, so the cold part of a session is always
-- a prefix of its log.
set local lock_timeout = '2s';

alter table starcite.segments
  add column state text not null default 'hot',
  add column closed_at timestamptz,
  add column moved_at timestamptz,
  add column dropped_at timestamptz,
  add column events bigint,
  -- squawk-ignore constraint-missing-not-valid
  add constraint segments_state_is_known check (state in ('hot', 'closed', 'moved', 'dropped'));
comment on column starcite.segments.state is 'hot, closed (being copied), moved (its events are read from objects), dropped (the partition is gone).';
comment on column starcite.segments.events is 'How many events were moved; null before.';

create index segments_state_idx on starcite.segments (state, from_at) where state <> 'dropped';

create table starcite.objects (
  object_id bigint generated always as identity primary key,
  key text collate "C" not null unique,
  tenant_id text collate "C" not null,
  segment text not null references starcite.segments (name),
  bytes bigint not null,
  sha256 bytea not null,
  events bigint not null,
  created_at timestamptz not null default clock_timestamp(),
  constraint objects_hash_is_sha256 check (octet_length(sha256) = 32)
);
comment on table starcite.objects is 'Objects of cold storage. Those of a segment that is not yet moved are copies in the making.';
comment on column starcite.objects.key is 'Where it lies, without the store''s own prefix; ends with the digest of its content.';
comment on column starcite.objects.sha256 is 'Digest of the whole object, as read back from the store.';
create index objects_segment_idx on starcite.objects (segment);

create table starcite.slices (
  sid bigint not null references starcite.sessions (sid),
  first_seq bigint not null,
  last_seq bigint not null,
  object_id bigint not null references starcite.objects (object_id),
  byte_offset bigint not null,
  -- squawk-ignore prefer-bigint-over-int
  bytes int not null,
  sha256 bytea not null,
  primary key (sid, first_seq),
  constraint slices_range_is_not_empty check (first_seq between 1 and last_seq),
  constraint slices_hash_is_sha256 check (octet_length(sha256) = 32)
);
comment on table starcite.slices is 'The manifest of cold storage: which bytes of which object hold a run of one session''s events. Readers use those whose object''s segment is moved or dropped.';
comment on column starcite.slices.byte_offset is 'Where in the object the slice, a gzip member of its own, begins.';
comment on column starcite.slices.bytes is 'Length of that gzip member.';
comment on column starcite.slices.sha256 is 'Digest of that gzip member.';
create index slices_object_idx on starcite.slices (object_id);

insert into starcite.settings (name, value) values ('closed_before', '-infinity'), ('hot_retention', '24 hours');
