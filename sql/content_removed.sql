-- Notifies every node that content of these sessions was removed, so that nodes drop their cached copies. The third
-- number of a triple in a notification is the session's epoch; nodes that missed it compare epochs periodically.
-- Locks the heads, in sid order, until commit.
create or replace function starcite.content_removed(p_sids bigint[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  perform from starcite.session_heads h where h.sid = any (p_sids) order by h.sid for no key update;
  update starcite.session_heads h set epoch = h.epoch + 1 where h.sid = any (p_sids);
  -- Postgres refuses a payload of 8,000 bytes or more, and a triple has at most 54.
  perform pg_notify('starcite_heads', json_agg(json_build_array(h.sid, h.last_seq, h.epoch))::text)
     from (select h.*, row_number() over (order by h.sid) as n from starcite.session_heads h where h.sid = any (p_sids)) h
    where current_setting('starcite.notify', true) is distinct from 'off'
    group by h.n / 140;
end
$$;
