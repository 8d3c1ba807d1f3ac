-- Sessions that tiering does not move because their log is damaged, and those that were set aside, for the tenants
-- that the reader may read. Their events are in audit.events until the damage is repaired, or the session is given
-- up.
create or replace view audit.set_aside with (security_barrier) as
select s.tenant_id as tenant, s.id as session, starcite.past_tenants(a.seq) as seq, starcite.past_tenants(a.reason) as reason,
       starcite.past_tenants(a.detail) as detail, starcite.past_tenants(a.since) as since,
       starcite.past_tenants(a.checked_at) as checked_at,
       starcite.past_tenants(coalesce(a.outcome, case when a.given_up_at is null then 'set_aside' else 'giving_up' end)) as state,
       starcite.past_tenants(a.ended_at) as ended_at, starcite.past_tenants(a.given_up_at) as given_up_at,
       starcite.past_tenants(a.given_up_by) as given_up_by, starcite.past_tenants(a.given_up_why) as given_up_why,
       starcite.past_tenants(a.given_up_through) as given_up_through
  from starcite.readable_sessions s
  join starcite.set_aside a on a.sid = s.sid;

comment on view audit.set_aside is 'Sessions whose log is damaged, so that tiering leaves it in Postgres, and those that were. Rows are never deleted.';
comment on column audit.set_aside.tenant is 'The tenant of the session.';
comment on column audit.set_aside.session is 'The session.';
comment on column audit.set_aside.seq is 'The first event that is not valid: it and all later ones stay in Postgres.';
comment on column audit.set_aside.reason is 'missing, duplicate, changed, broken or head, as in audit.verify.';
comment on column audit.set_aside.detail is 'What was found, as a sentence.';
comment on column audit.set_aside.since is 'When it was found.';
comment on column audit.set_aside.checked_at is 'When the tiering job looked at that event last.';
comment on column audit.set_aside.state is 'set_aside; giving_up (an operator gave it up, and it is not moved yet); mended (the event is valid again, and its events have moved); given_up (it was moved as it is, and verification goes on reporting the damage).';
comment on column audit.set_aside.ended_at is 'When its events had moved; null before.';
comment on column audit.set_aside.given_up_at is 'When it was given up; null otherwise.';
comment on column audit.set_aside.given_up_by is 'Who gave it up.';
comment on column audit.set_aside.given_up_why is 'The reason that was given.';
comment on column audit.set_aside.given_up_through is 'Events up to this one are moved unverified.';
