-- breaking: no. Older nodes never look at the table, and nothing is put there before a node of this release does.
set local lock_timeout = '2s';

create table starcite.archive_objects (
  key text collate "C" primary key,
  body bytea not null,
  created_at timestamptz not null default clock_timestamp()
);
-- Objects are compressed already; and out of line, uncompressed, a range is read without reading what is before it.
alter table starcite.archive_objects alter column body set storage external;
comment on table starcite.archive_objects is 'Cold storage for whoever has no bucket (STARCITE_ARCHIVE_ADAPTER=postgres): the same objects as would be in S3. Written once, never updated.';
comment on column starcite.archive_objects.key is 'What would be the key in the bucket, without the prefix.';
comment on column starcite.archive_objects.body is 'The object, byte for byte.';
comment on column starcite.archive_objects.created_at is 'When it was written, by the database''s clock.';
