-- Logs that are not what a checkpoint signed, for the tenants that the reader may read. Rows are never deleted.
create or replace view audit.checkpoint_contradictions with (security_barrier) as
select k.tenant_id as tenant, k.session_id as session, starcite.past_tenants(k.number) as number,
       starcite.past_tenants(k.signed_seq) as signed_seq, starcite.past_tenants(k.signed_hash) as signed_hash,
       starcite.past_tenants(k.found_seq) as found_seq, starcite.past_tenants(k.found_hash) as found_hash,
       starcite.past_tenants(k.reason) as reason, starcite.past_tenants(k.found_at) as found_at,
       starcite.past_tenants(k.resolved_at) as resolved_at, starcite.past_tenants(k.acknowledged_at) as acknowledged_at,
       starcite.past_tenants(k.acknowledged_by) as acknowledged_by,
       starcite.past_tenants(k.acknowledged_reason) as acknowledged_reason,
       starcite.past_tenants(k.recorded_number) as recorded_number
  from starcite.checkpoint_contradictions k
 where k.tenant_id = any (array(select r.tenant_id from starcite.readable_tenants r))
    or exists (select from starcite.readable_tenants r where r.tenant_id is null);
comment on view audit.checkpoint_contradictions is 'Logs that are not what a checkpoint signed (docs/proofs.md, "Contradictions"). No row: none was ever found.';
comment on column audit.checkpoint_contradictions.tenant is 'The tenant; null when it is no longer known, and then only readers of all tenants see the row.';
comment on column audit.checkpoint_contradictions.session is 'The session; the same.';
comment on column audit.checkpoint_contradictions.number is 'The checkpoint that is contradicted.';
comment on column audit.checkpoint_contradictions.signed_seq is 'Where it says that the log ended.';
comment on column audit.checkpoint_contradictions.signed_hash is 'The hash that it signed of that event; zeros where that is not known.';
comment on column audit.checkpoint_contradictions.found_seq is 'Where the log ended when this was found; null: the session was gone.';
comment on column audit.checkpoint_contradictions.found_hash is 'The hash that the event of signed_seq had, or the last event where the log ended before.';
comment on column audit.checkpoint_contradictions.reason is 'went_back: the log ends before signed_seq; changed: that event has another hash; gone: the session, or the event, is not there.';
comment on column audit.checkpoint_contradictions.found_at is 'When it was found.';
comment on column audit.checkpoint_contradictions.resolved_at is 'When the log was what was signed again; null: it has not been.';
comment on column audit.checkpoint_contradictions.acknowledged_at is 'When an operator acknowledged it.';
comment on column audit.checkpoint_contradictions.acknowledged_by is 'The database user who did.';
comment on column audit.checkpoint_contradictions.acknowledged_reason is 'What the operator says happened.';
comment on column audit.checkpoint_contradictions.recorded_number is 'The checkpoint that has signed the discontinuity; null: none yet.';
