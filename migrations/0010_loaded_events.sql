-- breaking: no. Older nodes never look at the table. Finish the deploy before you load anything: an older tiering job does not
-- know the copies when it carries out an erasure.
--
-- `starcite audit load` puts copies of cold events here for a while, for whoever wants to ask them in SQL
-- (audit.events_loaded). Unlogged: loading writes no WAL, and a crash of the server empties the table, which loses nothing
-- that does not lie in objects. Rows refer to sessions that are never deleted, so there is no foreign key to check for each.
set local lock_timeout = '2s';

create unlogged table starcite.loaded_events (
  sid bigint not null,
  seq bigint not null,
  inserted_at timestamptz not null,
  producer_seq bigint,
  type text not null,
  actor text not null,
  source text,
  producer_id text collate "C",
  idempotency_key text,
  payload json,
  metadata json,
  refs json,
  salt bytea,
  content_digest bytea not null,
  hash bytea not null,
  loaded_at timestamptz not null,
  expires_at timestamptz not null,
  primary key (sid, seq)
);
alter table starcite.loaded_events enable row level security;
create index loaded_events_expires_at_idx on starcite.loaded_events (expires_at);
comment on table starcite.loaded_events is 'Copies of cold events, for a while: what starcite audit load has put back. Content that is erased goes from here too.';
comment on column starcite.loaded_events.sid is 'The session.';
comment on column starcite.loaded_events.seq is 'As in events, and so are all columns up to hash.';
comment on column starcite.loaded_events.inserted_at is 'As in events.';
comment on column starcite.loaded_events.producer_seq is 'As in events.';
comment on column starcite.loaded_events.type is 'As in events.';
comment on column starcite.loaded_events.actor is 'As in events.';
comment on column starcite.loaded_events.source is 'As in events.';
comment on column starcite.loaded_events.producer_id is 'As in events.';
comment on column starcite.loaded_events.idempotency_key is 'As in events.';
comment on column starcite.loaded_events.payload is 'As in events. Null, with metadata, refs and salt, once the content is erased.';
comment on column starcite.loaded_events.metadata is 'As in events.';
comment on column starcite.loaded_events.refs is 'As in events.';
comment on column starcite.loaded_events.salt is 'As in events.';
comment on column starcite.loaded_events.content_digest is 'As in events.';
comment on column starcite.loaded_events.hash is 'As in events.';
comment on column starcite.loaded_events.loaded_at is 'When the copy was made.';
comment on column starcite.loaded_events.expires_at is 'When it is not shown any more, and soon after deleted.';
