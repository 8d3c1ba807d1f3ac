-- starcite.chain(start, form, link) over (partition by session order by seq): the hash of each event, from the hash
-- before the first of them. The form is the event's chain_version, the link starcite.chain_link. For verification;
-- append_events takes the same step, event by event.
create or replace aggregate starcite.chain(p_start bytea, p_chain_version int, p_link bytea) (
  sfunc = starcite.chain_step,
  stype = bytea
);

-- The same over events of form 1 only, whose link is starcite.event_link.
create or replace aggregate starcite.chain(p_start bytea, p_link bytea) (
  sfunc = starcite.chain_step,
  stype = bytea
);
