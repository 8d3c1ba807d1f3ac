-- breaking: no. Nodes do not search by these columns.
--
-- Postgres keeps the commonest values of each column, and a plain `explain` shows how many rows it expects for a value: an
-- auditor of one tenant could learn which actors and types are common in others. So no values are kept of the two columns
-- of events that the views of audit let the planner search by. Segments that exist keep theirs until they move away.
set local lock_timeout = '2s';

alter table starcite.events alter column actor set statistics 0, alter column type set statistics 0;

do $$
declare
  v_table regclass;
begin
  for v_table in select i.inhrelid::regclass from pg_catalog.pg_inherits i where i.inhparent = 'starcite.events'::regclass loop
    execute format('alter table %s alter column actor set statistics 0, alter column type set statistics 0', v_table);
  end loop;
end
$$;
