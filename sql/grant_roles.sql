-- Grants the existing roles of Starcite what they need and nothing else (docs/security.md). Called by every
-- migration, and by an operator who has created the roles by hand. Idempotent.
--   starcite_app      what a node needs: reads, the procedures, and the columns of a session that PATCH changes
--   starcite_auditor  the views of the schema audit, which show the tenants that starcite.tenant_grants has for it;
--                     audit.verify, and the functions that recompute the hash chain. No table
--   starcite_tiering  is a member of the owner, which detaching a partition requires
create or replace function starcite.grant_roles() returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  v_table text;
begin
  -- These two call starcite.append with json, as the caller, and can do nothing that the caller could not.
  grant execute on function
    starcite.append(text, text, jsonb, text, text, text, bigint, text, jsonb, jsonb, bigint, text),
    starcite.append(text, text, text, text, text, text, bigint, text, json, json, bigint, text)
    to public;

  if to_regrole('starcite_app') is not null then
    grant usage on schema starcite to starcite_app;
    grant select on starcite.sessions, starcite.session_heads, starcite.events, starcite.segments, starcite.objects,
                    starcite.slices, starcite.archive_objects, starcite.settings, starcite.migrations,
                    starcite.installed_objects, starcite.installed_tables, starcite.erasures, starcite.tiering_status, starcite.session_changes,
                    starcite.session_progress, starcite.lifecycle_heads, starcite.checkpoints, starcite.checkpoint_heads, starcite.checkpoint_contradictions
      to starcite_app;
    grant usage on schema audit to starcite_app;
    grant select on audit.checkpoints to starcite_app;
    grant update (title, metadata, archived, version, updated_at) on starcite.sessions to starcite_app;
    grant execute on function
      starcite.append_events(text[], text[], text[], json[], text[], text[], text[], bigint[], text[], json[], json[],
                             bigint[], int[]),
      starcite.append_events(text[], text[], text[], json[], text[], text[], text[], bigint[], text[], json[], json[],
                             bigint[], int[], text[]),
      starcite.busy_sessions(text[], text[]), starcite.create_session(text, text, text, json, json),
      starcite.ensure_segment(timestamptz), starcite.configure(interval, interval),
      starcite.merge_members(json, json), starcite.comparable(json), starcite.canonical(json),
      starcite.canonical_long(json), starcite.wire_time(timestamptz), starcite.place_changes(bigint[]),
      starcite.refuse_time(timestamptz),
      starcite.secret_key(text), starcite.erase_session(text, text, text, text, text, boolean),
      starcite.redact_event(text, text, bigint, text, text, text, boolean)
      to starcite_app;
    foreach v_table in array array['sessions', 'session_heads', 'events', 'objects', 'slices', 'session_changes',
                                     'session_progress', 'lifecycle_heads', 'erasures'] loop
      -- Creating a policy locks its table exclusively, so it is done only when needed.
      if not exists (select from pg_policy p where p.polrelid = format('starcite.%I', v_table)::regclass
                                               and p.polname = 'nodes_see_all') then
        execute format('create policy nodes_see_all on starcite.%I to starcite_app using (true)', v_table);
      end if;
    end loop;
  end if;

  if to_regrole('starcite_auditor') is not null then
    grant usage on schema starcite, audit to starcite_auditor;
    grant select on audit.version, audit.sessions, audit.events, audit.events_loaded, audit.producers, audit.segments,
                    audit.slices, audit.changes, audit.checkpoints, audit.set_aside, audit.checkpoint_contradictions
      to starcite_auditor;
    grant execute on function audit.verify(text, text) to starcite_auditor;
    -- The functions that the views call, and those of the hash chain, with which an auditor can check audit.verify.
    grant execute on function
      starcite.framed(text), starcite.wire_time(timestamptz), starcite.genesis_hash(text, text),
      starcite.content_digest(bytea, json, json, json),
      starcite.event_fields(text, text, text, text, bigint, text),
      starcite.event_link(bigint, timestamptz, text, text, text, text, bigint, text, bytea),
      starcite.chain_step(bytea, bytea, bytea), starcite.chain(bytea, bytea), starcite.as_jsonb(json),
      starcite.chain_step(bytea, bytea, int, bytea), starcite.chain(bytea, int, bytea),
      starcite.chain_link(int, bigint, timestamptz, text, text, text, text, bigint, text, text, bytea),
      starcite.chained_hash(int, bytea, bytea),
      starcite.past_tenants(anyelement)
      to starcite_auditor;
  end if;
end
$$;
