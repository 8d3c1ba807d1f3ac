-- breaking: no. The first schema: there is nothing yet that it could break.
--
-- Four things to know before reading on.
--   * A session's public name is (tenant_id, id); inside it is a narrow `sid`.
--   * session_heads is the one row that every append updates. It stands apart from sessions, is narrow and has
--     room on its page, so that these updates stay heap-only (HOT). Never index a column of it that appends change.
--   * Whoever appends to a session holds the lock of its head until commit. Everything about the session's order
--     (seq, inserted_at, the hash chain, producer memory) is decided under that lock. Several heads are always
--     locked in sid order.
--   * Payloads are `json`, not `jsonb`: json keeps the text exactly as it was sent.

set local lock_timeout = '2s';

do $$
begin
  if getdatabaseencoding() <> 'UTF8' then
    raise exception 'Starcite needs a database with the encoding UTF8; this one has %', getdatabaseencoding();
  end if;
end
$$;

create table starcite.sessions (
  sid bigint generated always as identity primary key,
  tenant_id text collate "C" not null,
  id text collate "C" not null,
  title text,
  metadata json not null default '{}',
  creator_principal json,
  version bigint not null default 1,
  archived boolean not null default false,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  erased_at timestamptz,
  constraint sessions_tenant_id_id_key unique (tenant_id, id),
  constraint sessions_id_is_1_to_256_bytes check (octet_length(id) between 1 and 256),
  constraint sessions_metadata_is_an_object check (json_typeof(metadata) = 'object')
);
comment on table starcite.sessions is 'One row per session: what its owner says about it. The log itself is in events.';
comment on column starcite.sessions.sid is 'Internal number of the session; never leaves the database and its nodes.';
comment on column starcite.sessions.version is 'Counts changes of title, metadata and archived; appends do not change it.';
comment on column starcite.sessions.erased_at is 'Set when the content was erased: every call then answers session_erased.';

-- `metadata.K=V` filters of the session list: containment, so path_ops (smaller, and all that @> needs).
create index sessions_metadata_idx on starcite.sessions using gin ((metadata::jsonb) jsonb_path_ops);
-- The session list, of either kind, when most sessions are of the other: without walking over those.
create index sessions_list_idx on starcite.sessions (tenant_id, archived, id) where erased_at is null;

create table starcite.session_heads (
  sid bigint primary key references starcite.sessions (sid),
  last_seq bigint not null default 0,
  chain_hash bytea not null,
  last_event_at timestamptz not null default '-infinity',
  erased boolean not null default false,
  constraint session_heads_hash_is_sha256 check (octet_length(chain_hash) = 32)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
comment on table starcite.session_heads is 'The end of each session''s log: the row that an append locks, reads and moves on.';
comment on column starcite.session_heads.last_seq is 'seq of the newest event; 0 when there is none.';
comment on column starcite.session_heads.chain_hash is 'hash of the newest event; before the first, starcite.genesis_hash of the session''s name.';
comment on column starcite.session_heads.last_event_at is 'inserted_at of the newest event; the next one is never earlier.';
comment on column starcite.session_heads.erased is 'Follows sessions.erased_at, by trigger: here, because appends lock this row and no other.';

create table starcite.producers (
  sid bigint not null references starcite.sessions (sid),
  producer_id text collate "C" not null,
  producer_seq bigint not null,
  seq bigint not null,
  digest bytea not null,
  primary key (sid, producer_id)
) with (fillfactor = 70);
comment on table starcite.producers is 'What each producer appended last, for as long as the session exists: the memory that makes retries safe.';
comment on column starcite.producers.producer_seq is 'The last producer_seq that was stored; the next append must carry this plus one.';
comment on column starcite.producers.seq is 'seq of the event that producer_seq became.';
comment on column starcite.producers.digest is 'starcite.content_key of that event, to tell a retry from a different event under the same number.';

-- No primary key: a unique constraint of a partitioned table would have to include inserted_at. Each partition has
-- its own unique index on (sid, seq) instead (starcite.ensure_segment makes it), and the head's lock does the rest.
create table starcite.events (
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
  hash bytea not null
) partition by range (inserted_at);
comment on table starcite.events is 'The hot part of every session''s log, one partition (segment) per stretch of time.';
comment on column starcite.events.seq is 'Position in the session: 1, 2, 3 ... without a hole, in commit order.';
comment on column starcite.events.inserted_at is 'Taken under the head''s lock; never runs backwards within a session.';
comment on column starcite.events.payload is 'Exactly the text that was sent. Null, with metadata, refs and salt, once the content is erased.';
comment on column starcite.events.salt is '16 random bytes in content_digest, so that erased content cannot be confirmed by guessing.';
comment on column starcite.events.content_digest is 'starcite.content_digest(salt, payload, metadata, refs); stays when the content is erased.';
comment on column starcite.events.hash is 'sha256 of the previous event''s hash and starcite.event_link of this one.';

create table starcite.segments (
  name text primary key,
  from_at timestamptz not null,
  to_at timestamptz not null,
  constraint segments_range_is_not_empty check (from_at < to_at),
  constraint segments_do_not_overlap exclude using gist (tstzrange(from_at, to_at) with &&)
);
comment on table starcite.segments is 'The partitions of events, by the stretch of time that each holds.';

create table starcite.installed_objects (
  name text primary key,
  hash text not null,
  release text not null
);
comment on table starcite.installed_objects is 'Functions and views as installed: the digest of each one''s file, and the release that brought it.';

create table starcite.settings (
  name text primary key,
  value text not null
);
comment on table starcite.settings is 'What procedures need to know of the configuration; nodes write it when they start.';
insert into starcite.settings (name, value) values ('segment_interval', '6 hours');
