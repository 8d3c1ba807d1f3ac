-- The signed checkpoints. One covers sessions of every tenant, but names none of them: only the object with its
-- leaves does.
create or replace view audit.checkpoints with (security_barrier) as
select c.number, c.taken_at, c.leaves, encode(c.root, 'hex') as root,
       c.body::json ->> 'previous' as previous, encode(c.sha256, 'hex') as sha256,
       -- On one line, as in the object store: Postgres breaks lines after 76 characters.
       c.key_id, c.body, translate(encode(c.signature, 'base64'), E'\n', '') as signature, c.leaves_key, c.stored_at,
       coalesce((c.body::json ->> 'discontinuities')::bigint, 0) as discontinuities
  from starcite.checkpoints c;
comment on view audit.checkpoints is 'Signed statements of where the logs of sessions ended (docs/proofs.md).';
comment on column audit.checkpoints.number is '1, 2, 3 ... without a gap.';
comment on column audit.checkpoints.taken_at is 'Before the heads were read: what was committed by then is covered by this checkpoint or an earlier one, or, after one of 200,000 leaves, by the next.';
comment on column audit.checkpoints.leaves is 'How many sessions it covers: those that had moved on since the one before.';
comment on column audit.checkpoints.root is 'Root of the Merkle tree over them, in hexadecimal.';
comment on column audit.checkpoints.previous is 'sha256 of the checkpoint before, in hexadecimal, or 64 zeros for the first.';
comment on column audit.checkpoints.sha256 is 'Of the body, in hexadecimal: what to publish, or to keep elsewhere.';
comment on column audit.checkpoints.key_id is 'Which key signed it: the first 16 hexadecimal digits of the SHA-256 of the public key (SPKI, DER).';
comment on column audit.checkpoints.body is 'What is signed, byte for byte.';
comment on column audit.checkpoints.signature is 'Ed25519, in base64.';
comment on column audit.checkpoints.leaves_key is 'The object that lists the sessions, or null when there are none.';
comment on column audit.checkpoints.stored_at is 'When it was in the object store, too, or null when it is not yet.';
comment on column audit.checkpoints.discontinuities is 'How many of its leaves record an acknowledged discontinuity.';
