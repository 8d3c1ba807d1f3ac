-- breaking: no. Older nodes never look at these tables, and checkpoints are taken only where a key is configured.
--
-- A checkpoint is a signed statement of where the logs of all sessions ended that had moved on since the checkpoint before
-- (docs/proofs.md has its form). How one is taken (src/audit/checkpoints/ does it), under a lock, on one node at a time:
--   gathered  the heads that have moved are copied to checkpoint_moved, some at a time, in the order of their sids
--   leaves    are written to the object store, under a name that no other attempt has
--   noted     in one transaction: the row of checkpoints, and in checkpoint_heads how far each session is covered. The
--             primary key decides: there is never a second checkpoint of one number
--   stored    the checkpoint itself is written to the object store, never over another; a row that is not yet stored is
--             stored by the next pass
-- What has moved is found by comparing heads with checkpoint_heads, so it needs no index that appends would have to keep,
-- and a head that was committed late is simply found by the next checkpoint.
set local lock_timeout = '2s';

create table starcite.checkpoints (
  number bigint primary key,
  body text not null,
  signature bytea not null,
  sha256 bytea not null,
  root bytea not null,
  leaves bigint not null,
  taken_at timestamptz not null,
  key_id text not null,
  leaves_key text collate "C",
  stored_at timestamptz,
  constraint checkpoints_number_is_positive check (number > 0),
  constraint checkpoints_hashes_are_sha256 check (octet_length(sha256) = 32 and octet_length(root) = 32),
  constraint checkpoints_leaves_have_an_object check ((leaves = 0) = (leaves_key is null))
);
comment on table starcite.checkpoints is 'Signed statements of where the logs of sessions ended, each chained to the one before. Rows are never deleted.';
comment on column starcite.checkpoints.number is '1, 2, 3 ... without a hole.';
comment on column starcite.checkpoints.body is 'What is signed, byte for byte (docs/proofs.md). The columns after it repeat what it says.';
comment on column starcite.checkpoints.signature is 'Ed25519, of the body.';
comment on column starcite.checkpoints.sha256 is 'Of the body: what the next checkpoint calls the previous one.';
comment on column starcite.checkpoints.root is 'Of the Merkle tree over the heads that it covers.';
comment on column starcite.checkpoints.leaves is 'How many heads that are.';
comment on column starcite.checkpoints.taken_at is 'Before the heads were read: what was committed by then is covered by this checkpoint or an earlier one, or, after one of 200,000 leaves, by the next.';
comment on column starcite.checkpoints.key_id is 'The first 16 hexadecimal digits of the SHA-256 of the public key (SPKI, DER).';
comment on column starcite.checkpoints.leaves_key is 'The object that lists the heads; null when there are none.';
comment on column starcite.checkpoints.stored_at is 'When it was in the object store, too; null: not yet.';
create index checkpoints_taken_at_idx on starcite.checkpoints (taken_at);
create index checkpoints_unstored_idx on starcite.checkpoints (number) where stored_at is null;

-- sid refers to no session, for Postgres: checking that would lock sessions' rows, 100,000 at a time.
create table starcite.checkpoint_heads (
  sid bigint primary key,
  last_seq bigint not null,
  number bigint not null
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
comment on table starcite.checkpoint_heads is 'How far each session''s log is covered by checkpoints.';
comment on column starcite.checkpoint_heads.sid is 'The session.';
comment on column starcite.checkpoint_heads.last_seq is 'seq of its newest event that is covered.';
comment on column starcite.checkpoint_heads.number is 'The checkpoint that covers it.';

-- Unlogged: after a crash the checkpoint is begun anew.
create unlogged table starcite.checkpoint_moved (
  tenant_id text collate "C" not null,
  session_id text collate "C" not null,
  sid bigint not null,
  last_seq bigint not null,
  chain_hash bytea not null,
  primary key (tenant_id, session_id) -- the order of the Merkle tree
);
comment on table starcite.checkpoint_moved is 'The heads that the checkpoint being taken covers; empty in between.';
comment on column starcite.checkpoint_moved.tenant_id is 'The session''s tenant.';
comment on column starcite.checkpoint_moved.session_id is 'The session''s id.';
comment on column starcite.checkpoint_moved.sid is 'The session''s internal number.';
comment on column starcite.checkpoint_moved.last_seq is 'Its head''s, as it was read.';
comment on column starcite.checkpoint_moved.chain_hash is 'The same.';
