-- breaking: no. Nodes of before read none of this, and call the procedures that are replaced as they did.
--
-- Auditors read the views of the schema audit (sql/audit/), which show them the tenants granted to them, and no table:
-- what starcite_auditor was granted on tables is taken away here. Row security stays, for roles of your own.
--
-- Segments that are made from here on have an index for what auditors ask (sql/ensure_segment.sql); those that are there
-- do without, because building one would lock appends out, and are moved away soon. All get a replica identity, so that
-- erasures go through when a publication has events in it. That of events itself only tells subscribers, which see its rows
-- as those of events, that any column may be a key there: nothing is written for it, and no old content is sent.
set local lock_timeout = '2s';

do $$
begin
  if to_regrole('starcite_auditor') is not null then
    revoke select on starcite.sessions, starcite.session_heads, starcite.events, starcite.segments, starcite.objects,
                     starcite.slices, starcite.tenant_grants, starcite.session_changes, starcite.erasures
      from starcite_auditor;
  end if;
end
$$;

alter table starcite.events replica identity full;
do $$
declare
  v_table text;
  v_index text;
begin
  for v_table, v_index in
    select t.relname, i.relname
      from pg_catalog.pg_inherits n
      join pg_catalog.pg_class t on t.oid = n.inhrelid
      join pg_catalog.pg_index x on x.indrelid = t.oid and x.indisunique and x.indpred is null and x.indnkeyatts = 2
      join pg_catalog.pg_class i on i.oid = x.indexrelid
     where n.inhparent = 'starcite.events'::regclass
  loop
    execute format('alter table starcite.%I replica identity using index %I', v_table, v_index);
  end loop;
end
$$;

-- What happened in a tenant in some stretch of time.
-- squawk-ignore require-concurrent-index-creation
create index session_changes_at_idx on starcite.session_changes (tenant_id, at);

create table starcite.legal_hold_changes (
  legal_hold_change_id bigint generated always as identity primary key,
  sid bigint not null references starcite.sessions (sid),
  tenant_id text collate "C" not null,
  kind text not null,
  at timestamptz not null default clock_timestamp(),
  subject text,
  request_id text,
  reason text,
  constraint legal_hold_changes_kind_is_known check (kind in ('held', 'released'))
);
create index legal_hold_changes_sid_idx on starcite.legal_hold_changes (sid);
alter table starcite.legal_hold_changes enable row level security;
comment on table starcite.legal_hold_changes is 'Who put which session under a legal hold, or released it, and when. Rows stay.';
comment on column starcite.legal_hold_changes.legal_hold_change_id is 'In the order in which they were made.';
comment on column starcite.legal_hold_changes.sid is 'The session.';
comment on column starcite.legal_hold_changes.tenant_id is 'The session''s tenant.';
comment on column starcite.legal_hold_changes.kind is 'held, or released.';
comment on column starcite.legal_hold_changes.at is 'When, by the database''s clock.';
comment on column starcite.legal_hold_changes.subject is 'Who: as the caller said (starcite.hold_session, or the setting starcite.actor), or who was logged in.';
comment on column starcite.legal_hold_changes.request_id is 'The setting starcite.request_id of the transaction; null when there was none.';
comment on column starcite.legal_hold_changes.reason is 'Why it is held; null for a release.';
insert into starcite.legal_hold_changes (sid, tenant_id, kind, at, subject, reason)
select l.sid, s.tenant_id, 'held', l.held_at, l.subject, l.reason
  from starcite.legal_holds l join starcite.sessions s on s.sid = l.sid
 order by l.held_at;

-- \d+ is documentation: what had no word yet.
comment on column starcite.sessions.tenant_id is 'The tenant that it belongs to; one per token.';
comment on column starcite.sessions.id is 'Its name in the tenant, as in URLs; never used twice, not even after an erasure.';
comment on column starcite.sessions.title is 'What its owner calls it. Null once erased.';
comment on column starcite.sessions.metadata is 'What its owner says of it, exactly the text that was sent. {} once erased.';
comment on column starcite.sessions.creator_principal is 'Who created it: by the token, or, where there are none, as the request said. Null when neither did, and once erased.';
comment on column starcite.sessions.archived is 'Left out of the default list; nothing else changes.';
comment on column starcite.sessions.created_at is 'When it was created, by the database''s clock.';
comment on column starcite.sessions.updated_at is 'When title, metadata or archived changed last; appends do not count.';
comment on column starcite.session_heads.sid is 'The session.';
comment on column starcite.producers.sid is 'The session.';
comment on column starcite.producers.producer_id is 'The producer''s name for itself.';
comment on column starcite.events.sid is 'The session.';
comment on column starcite.events.producer_seq is 'The producer''s own count: 1, 2, 3 ...; null without a producer.';
comment on column starcite.events.type is 'What kind of event it is, in the words of those who append.';
comment on column starcite.events.actor is 'Who appended it; with a token, its subject.';
comment on column starcite.events.source is 'Where it came from, in the words of who appended it.';
comment on column starcite.events.producer_id is 'The producer, within the session; null when it asked for no protection of retries.';
comment on column starcite.events.idempotency_key is 'Kept for the reader; not looked at when appending.';
comment on column starcite.events.metadata is 'Exactly the text that was sent. Null once the content is erased.';
comment on column starcite.events.refs is 'What the event refers to, exactly the text that was sent. Null once the content is erased.';
comment on column starcite.segments.name is 'Name of the partition in the schema starcite.';
comment on column starcite.segments.from_at is 'Its events have inserted_at from here ...';
comment on column starcite.segments.to_at is '... to before here.';
comment on column starcite.segments.closed_at is 'When it took its last event for certain, and copying began; null while hot.';
comment on column starcite.segments.moved_at is 'The instant since which its events are read from objects; null before.';
comment on column starcite.segments.dropped_at is 'When the empty partition was dropped; null before.';
comment on column starcite.installed_objects.name is 'As in SQL_OBJECTS of src/db/functions.ts; those of audit have their schema before them.';
comment on column starcite.installed_objects.hash is 'SHA-256 of the file, in hex.';
comment on column starcite.installed_objects.release is 'The release that installed it in this form.';
comment on column starcite.settings.name is 'What is set.';
comment on column starcite.settings.value is 'To what, as text.';
comment on column starcite.objects.object_id is 'In the order in which objects were noted; stays when the object is rewritten for an erasure.';
comment on column starcite.objects.tenant_id is 'The one tenant whose events it holds.';
comment on column starcite.objects.segment is 'The segment that they come from.';
comment on column starcite.objects.bytes is 'Its length.';
comment on column starcite.objects.events is 'How many events it holds, those without content included.';
comment on column starcite.objects.created_at is 'When the copy was noted.';
comment on column starcite.slices.sid is 'The session.';
comment on column starcite.slices.first_seq is 'First event of the run.';
comment on column starcite.slices.last_seq is 'Last event of the run; all between are in it.';
comment on column starcite.slices.object_id is 'The object that it lies in.';
comment on column starcite.session_changes.sid is 'The session.';
comment on column starcite.session_changes.tenant_id is 'The session''s tenant.';
comment on column starcite.session_progress.sid is 'The session.';
comment on column starcite.session_progress.tenant_id is 'The session''s tenant.';
comment on column starcite.session_progress.last_seq is 'seq of the newest event that was told of.';
comment on column starcite.lifecycle_heads.tenant_id is 'The tenant.';
comment on column starcite.erasures.erasure_id is 'In the order in which they were asked for.';
comment on column starcite.erasures.tenant_id is 'The tenant whose content goes.';
comment on column starcite.erasures.sid is 'The session; null for a segment.';
comment on column starcite.erasures.segment is 'The segment whose content of the tenant goes, by retention; null otherwise.';
comment on column starcite.erasures.request_id is 'X-Request-Id of the request, or what an SQL caller said.';
comment on column starcite.erasures.reason is 'Why, in the words of who asked.';
comment on column starcite.erasures.requested_at is 'When it was asked for; from that commit on nobody is shown the content.';
comment on column starcite.erasures.completed_at is 'When tables and objects no longer had the content; null before.';
comment on column starcite.superseded_objects.key is 'As objects.key was.';
comment on column starcite.superseded_objects.superseded_at is 'When the manifest was switched to the other.';
comment on column starcite.legal_holds.sid is 'The session.';
comment on column starcite.legal_holds.subject is 'Who put it under the hold.';
comment on column starcite.legal_holds.reason is 'Why, in their words.';
comment on column starcite.legal_holds.held_at is 'When.';
comment on table starcite.migrations is 'Which migrations were applied (node-pg-migrate).';
comment on column starcite.migrations.id is 'In the order in which they were applied.';
comment on column starcite.migrations.name is 'Name of the file in migrations/, without its ending.';
comment on column starcite.migrations.run_on is 'When.';
