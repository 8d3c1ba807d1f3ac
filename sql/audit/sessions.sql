-- One row per session of the tenants that the reader may read. The counts of events are the expected ones:
-- audit.events and the manifest (audit.slices) show what exists, and audit.verify compares. A session whose head was
-- deleted is included, so that an auditor who verifies all sessions finds it.
create or replace view audit.sessions with (security_barrier) as
select s.tenant_id as tenant, s.id as session, starcite.past_tenants(s.title) as title, starcite.past_tenants(s.metadata) as metadata,
       starcite.past_tenants(s.creator_principal) as creator, starcite.past_tenants(s.version) as version, starcite.past_tenants(s.archived) as archived,
       starcite.past_tenants(s.created_at) as created_at, starcite.past_tenants(s.updated_at) as updated_at, starcite.past_tenants(s.erased_at) as erased_at,
       exists (select from starcite.legal_holds l where l.sid = s.sid) as held,
       starcite.past_tenants(h.last_seq) as last_seq, starcite.past_tenants(nullif(h.last_event_at, '-infinity')) as last_event_at,
       h.last_seq - c.last_seq as hot_events,
       c.last_seq as cold_events,
       case when c.last_seq < h.last_seq then c.last_seq + 1 end as first_hot_seq,
       starcite.past_tenants(h.chain_hash) as chain_hash, starcite.past_tenants(h.epoch) as epoch
  from starcite.readable_sessions s
  left join starcite.session_heads h on h.sid = s.sid
  left join lateral (
         select coalesce(max(p.last_seq), 0) as last_seq
           from starcite.slices p
           join starcite.objects o on o.object_id = p.object_id
           join starcite.segments g on g.name = o.segment and g.state in ('moved', 'dropped')
          where p.sid = s.sid) c on true;

comment on view audit.sessions is 'Sessions: what they are called, who made them, how many events they have and where.';
comment on column audit.sessions.tenant is 'The tenant that it belongs to.';
comment on column audit.sessions.session is 'Its id, unique in the tenant for ever.';
comment on column audit.sessions.title is 'Null when there is none, and once erased.';
comment on column audit.sessions.metadata is 'As it was sent; {} once erased.';
comment on column audit.sessions.creator is 'Who created it: by the token, or, where there are none, as the request said. Null when neither did, and once erased.';
comment on column audit.sessions.version is 'Counts changes of title, metadata and archived, and the erasure.';
comment on column audit.sessions.archived is 'Whether it is left out of default lists.';
comment on column audit.sessions.created_at is 'When it was created.';
comment on column audit.sessions.updated_at is 'When it changed last, appends do not count.';
comment on column audit.sessions.erased_at is 'When its content was erased; null when it was not.';
comment on column audit.sessions.held is 'Whether it is under a legal hold now.';
comment on column audit.sessions.last_seq is 'seq of the newest event, and so the number of all events ever appended, 0 when there is none.';
comment on column audit.sessions.last_event_at is 'Time of the newest event; null when there is none.';
comment on column audit.sessions.hot_events is 'Events in Postgres: audit.events has them.';
comment on column audit.sessions.cold_events is 'Events in objects, always 1 to this number: audit.slices says where.';
comment on column audit.sessions.first_hot_seq is 'The first event that is in Postgres; null when none is.';
comment on column audit.sessions.chain_hash is 'hash of the newest event, where the chain ends, before the first, what stands for the hash before it.';
comment on column audit.sessions.epoch is 'Counts removals of content by erasure, redaction and retention.';
