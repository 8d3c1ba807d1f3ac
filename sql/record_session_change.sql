-- Records what is done to a session, in the transaction that does it. A trigger function of sessions, so that no
-- change escapes it. The settings starcite.actor and starcite.request_id say on whose behalf a session is changed:
--   begin; set local starcite.actor = 'service:billing'; select starcite.create_session('default', 'ses_1'); commit;
-- Changes of one session hold its row's lock until commit, so their change_ids are in the order of their commits.
create or replace function starcite.record_session_change() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_kind text;
  v_at timestamptz;
begin
  foreach v_kind in array
    case when tg_op = 'INSERT' then array['created']
         else array_remove(array[
                case when new.erased_at is null
                          and (new.title is distinct from old.title or new.metadata::text <> old.metadata::text)
                     then 'updated' end,
                case when new.archived <> old.archived
                     then case when new.archived then 'archived' else 'unarchived' end end,
                case when new.erased_at is not null and old.erased_at is null then 'erased' end], null)
    end
  loop
    v_at := case when v_kind = 'created' then new.created_at
                 when v_kind = 'erased' then new.erased_at
                 when new.updated_at > old.updated_at then new.updated_at
                 else clock_timestamp() end;
    insert into starcite.session_changes (sid, tenant_id, kind, at, actor, request_id, version, title, metadata)
    values (new.sid, new.tenant_id, v_kind, v_at, nullif(current_setting('starcite.actor', true), ''),
            nullif(current_setting('starcite.request_id', true), ''), new.version,
            case when v_kind in ('created', 'updated') then new.title end,
            case when v_kind in ('created', 'updated') then new.metadata end);
  end loop;
  if new.erased_at is not null then
    update starcite.session_changes c
       set title = null, metadata = null
     where c.sid = new.sid and (c.title is not null or c.metadata is not null);
  end if;
  return null;
end
$$;

create or replace trigger sessions_record_change
after insert or update of title, metadata, archived, erased_at on starcite.sessions
for each row execute function starcite.record_session_change();
