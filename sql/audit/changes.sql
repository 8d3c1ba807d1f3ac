-- Who did what to sessions and their content, for the tenants that the reader may read. What retention does to the
-- content of a segment is one row for all sessions, without a session. The union is in a subquery: Postgres takes a
-- view that is only a union apart in spite of its barrier. The nulls have types, so that Postgres words the view the
-- same before and after a restore (src/db/fingerprints.ts). The changes have two branches, and both tables a
-- condition on the tenant, for the reason that sql/readable_sessions.sql gives.
create or replace view audit.changes with (security_barrier) as
select c.tenant, c.session, c.time, c.kind, starcite.past_tenants(c.actor) as actor, starcite.past_tenants(c.request_id) as request_id, starcite.past_tenants(c.version) as version,
       starcite.past_tenants(c.title) as title, starcite.past_tenants(c.metadata) as metadata, starcite.past_tenants(c.first_seq) as first_seq, starcite.past_tenants(c.last_seq) as last_seq,
       starcite.past_tenants(c.segment) as segment, starcite.past_tenants(c.reason) as reason, starcite.past_tenants(c.erasure) as erasure, starcite.past_tenants(c.completed_at) as completed_at
  from (select s.tenant_id as tenant, s.id as session, c.at as time, c.kind, c.actor, c.request_id, c.version, c.title, c.metadata,
                x.first_seq, x.last_seq, null::text as segment, x.reason, x.id as erasure, x.completed_at
           from starcite.session_changes c
           join starcite.sessions s on s.sid = c.sid and s.tenant_id = c.tenant_id
           left join starcite.erasures x on x.sid = c.sid and x.kind = 'session' and c.kind = 'erased'
          where exists (select from starcite.readable_tenants r where r.tenant_id is null)
          union all
         select s.tenant_id, s.id, c.at, c.kind, c.actor, c.request_id, c.version, c.title, c.metadata,
                x.first_seq, x.last_seq, null::text, x.reason, x.id, x.completed_at
           from starcite.session_changes c
           join starcite.sessions s on s.sid = c.sid and s.tenant_id = c.tenant_id
           left join starcite.erasures x on x.sid = c.sid and x.kind = 'session' and c.kind = 'erased'
          where array(select r.tenant_id from starcite.readable_tenants r) @> array[c.tenant_id]
            and c.tenant_id = any (array(select r.tenant_id from starcite.readable_tenants r))
            and array(select r.tenant_id from starcite.readable_tenants r) @> array[s.tenant_id]
            and s.tenant_id = any (array(select r.tenant_id from starcite.readable_tenants r))
            and not exists (select from starcite.readable_tenants r where r.tenant_id is null)
          union all
         select x.tenant_id, s.id, x.requested_at, case x.kind when 'event' then 'redacted' else 'expired' end, x.subject,
                x.request_id, null::bigint, null::text, null::json, x.first_seq, x.last_seq, x.segment, x.reason, x.id, x.completed_at
           from starcite.erasures x
           left join starcite.readable_sessions s on s.sid = x.sid
          where x.kind in ('event', 'segment')
            and (x.tenant_id = any (array(select r.tenant_id from starcite.readable_tenants r))
                 or exists (select from starcite.readable_tenants r where r.tenant_id is null))
          union all
         select s.tenant_id, s.id, l.at, l.kind, l.subject, l.request_id, null::bigint, null::text, null::json, null::bigint, null::bigint, null::text, l.reason,
                null::uuid, null::timestamptz
           from starcite.legal_hold_changes l
           join starcite.readable_sessions s on s.sid = l.sid) c;

comment on view audit.changes is 'Who did what to sessions and their content, and when. Rows are never deleted.';
comment on column audit.changes.tenant is 'The tenant.';
comment on column audit.changes.session is 'The session; null where a whole segment is concerned (expired).';
comment on column audit.changes.time is 'When.';
comment on column audit.changes.kind is 'created, updated (title or metadata), archived, unarchived, erased; redacted (one event); expired (content of a segment, by retention); held, released (legal hold).';
comment on column audit.changes.actor is 'Subject of the token, or what an SQL caller said (setting starcite.actor); retention is ''retention''; null when there was neither.';
comment on column audit.changes.request_id is 'X-Request-Id of the request, or the setting starcite.request_id; null when there was neither.';
comment on column audit.changes.version is 'The session''s after the change; null where it has none (redacted, expired, held, released).';
comment on column audit.changes.title is 'After the change, of what was created or updated; null once the session is erased.';
comment on column audit.changes.metadata is 'After the change, of what was created or updated; null once the session is erased.';
comment on column audit.changes.first_seq is 'First event whose content went (erased, redacted), null otherwise.';
comment on column audit.changes.last_seq is 'Last event whose content went, null otherwise.';
comment on column audit.changes.segment is 'The stretch of time whose content went (expired), null otherwise.';
comment on column audit.changes.reason is 'Why, in the words of who asked: of erased, redacted, expired, held.';
comment on column audit.changes.erasure is 'Id of the receipt, as in GET /v1/erasures/:id; null where nothing was erased.';
comment on column audit.changes.completed_at is 'When the content was gone from tables and objects; null before, and where nothing was erased.';
