-- breaking: no. Older nodes go on appending and reading. Until they are replaced they write no more objects of cold storage:
-- what they would write leaves out the columns that are new here. Nodes of this release move segments and erase meanwhile.
--
-- Three things:
--   * An event says by which form of the hash chain it is chained (starcite.chained_hash has both), and who appended it in
--     another's name. In a session form 2 is never followed by form 1.
--   * Objects are written only by jobs that say which archive format they write.
--   * What checkpoints have signed is remembered with its hash, and logs that contradict it are noted.
set local lock_timeout = '2s';

alter table starcite.events add column subject text;
alter table starcite.events add column chain_version smallint not null default 1;
comment on column starcite.events.subject is 'Subject of the token that appended the event in the name of another actor; null when the actor appended it.';
comment on column starcite.events.chain_version is 'Which form of starcite.chained_hash the event''s hash has; never less than that of the event before.';

-- An insert that does not say by which form an event is chained is one of the append procedure before this migration. A
-- call of it that began before its replacement was visible may end after; behind an event of form 2 it would store one
-- of form 1. So it fails as a transaction that has to be run again, which nodes do, and then runs the new procedure.
create function starcite.unstated_chain_version() returns smallint
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regprocedure('starcite.append_events(text[],text[],text[],json[],text[],text[],text[],bigint[],text[],json[],json[],'
                     || 'bigint[],integer[],text[])') is not null then
    raise exception 'starcite.events: an insert has to state chain_version'
      using errcode = 'serialization_failure',
            hint = 'If this came from an append, it was under way while its procedure was replaced: run it again.';
  end if;
  return 1;
end
$$;
revoke all on function starcite.unstated_chain_version() from public;
comment on function starcite.unstated_chain_version() is 'Default of events.chain_version: refuses appends by a procedure that was replaced meanwhile.';
alter table starcite.events alter column chain_version set default starcite.unstated_chain_version();

alter table starcite.loaded_events add column subject text;
alter table starcite.loaded_events add column chain_version smallint not null default 1;
comment on column starcite.loaded_events.subject is 'As in events.';
comment on column starcite.loaded_events.chain_version is 'As in events.';

create function starcite.refuse_older_archive_format() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  if current_setting('starcite.archive_format', true) is distinct from '2' then
    raise exception 'this build of Starcite writes an older archive format than the database has'
      using errcode = 'feature_not_supported', hint = 'A node of the newer build moves segments and erases.';
  end if;
  return new;
end
$$;
comment on function starcite.refuse_older_archive_format() is 'Keeps jobs of older builds, which leave out subject and chain_version, from writing objects.';
create trigger objects_are_of_this_format before insert or update of key on starcite.objects
  for each row execute function starcite.refuse_older_archive_format();

-- Beside the number, for a node of an older build notes a checkpoint without its hashes: then they are not of that number.
alter table starcite.checkpoint_heads add column hash bytea;
alter table starcite.checkpoint_heads add column hash_number bigint;
comment on column starcite.checkpoint_heads.hash is 'Hash of that event, as it was signed.';
comment on column starcite.checkpoint_heads.hash_number is 'The checkpoint that signed hash; another than number: hash is not known.';

create table starcite.checkpoint_contradictions (
  id bigint generated always as identity primary key,
  tenant_id text collate "C",
  session_id text collate "C",
  sid bigint,
  number bigint not null,
  signed_seq bigint not null,
  signed_hash bytea not null,
  found_seq bigint,
  found_hash bytea,
  reason text not null,
  found_at timestamptz not null default clock_timestamp(),
  resolved_at timestamptz,
  acknowledged_at timestamptz,
  acknowledged_by text,
  acknowledged_reason text,
  recorded_number bigint,
  constraint checkpoint_contradictions_reason_is_known check (reason in ('went_back', 'changed', 'gone')),
  constraint checkpoint_contradictions_are_acknowledged_with_a_reason
    check ((acknowledged_at is null) = (acknowledged_reason is null)),
  constraint checkpoint_contradictions_are_acknowledged_before_they_are_recorded
    check (recorded_number is null or acknowledged_at is not null)
);
comment on table starcite.checkpoint_contradictions is 'Logs that are not what a checkpoint signed. Checkpoints leave such a session out until it is what was signed again, or an operator acknowledges the discontinuity. Rows are never deleted.';
comment on column starcite.checkpoint_contradictions.id is 'What the acknowledgement of one names.';
comment on column starcite.checkpoint_contradictions.tenant_id is 'The session''s tenant; null where the session is gone and the list of leaves is, too.';
comment on column starcite.checkpoint_contradictions.session_id is 'The session''s id; the same.';
comment on column starcite.checkpoint_contradictions.sid is 'The session''s internal number; null when the database never had the session, or has lost it.';
comment on column starcite.checkpoint_contradictions.number is 'The checkpoint that is contradicted.';
comment on column starcite.checkpoint_contradictions.signed_seq is 'Where it says that the log ended.';
comment on column starcite.checkpoint_contradictions.signed_hash is 'The hash that it signed of that event.';
comment on column starcite.checkpoint_contradictions.found_seq is 'Where the log ended when this was found; null: the session was gone.';
comment on column starcite.checkpoint_contradictions.found_hash is 'The hash that the event of signed_seq had, or the last event where the log ended before.';
comment on column starcite.checkpoint_contradictions.reason is 'went_back: the log ends before signed_seq; changed: that event has another hash; gone: the session, or the event, is not there.';
comment on column starcite.checkpoint_contradictions.found_at is 'When it was found.';
comment on column starcite.checkpoint_contradictions.resolved_at is 'When the log was what was signed again; null: it has not been.';
comment on column starcite.checkpoint_contradictions.acknowledged_at is 'When an operator acknowledged it.';
comment on column starcite.checkpoint_contradictions.acknowledged_by is 'The database user who did.';
comment on column starcite.checkpoint_contradictions.acknowledged_reason is 'What the operator says happened; it is signed.';
comment on column starcite.checkpoint_contradictions.recorded_number is 'The checkpoint that has signed the acknowledged discontinuity; null: none yet.';
create index checkpoint_contradictions_open_idx on starcite.checkpoint_contradictions (tenant_id, session_id)
  where resolved_at is null and recorded_number is null;
create index checkpoint_contradictions_sid_idx on starcite.checkpoint_contradictions (sid)
  where resolved_at is null and recorded_number is null;

-- Sessions that are gone have no sid; a leaf after an acknowledged discontinuity says what it does not continue.
alter table starcite.checkpoint_moved alter column sid drop not null;
alter table starcite.checkpoint_moved add column contradiction_id bigint;
comment on column starcite.checkpoint_moved.contradiction_id is 'The acknowledged contradiction that the leaf records; null as a rule.';
