-- starcite.chain(start, link) over (partition by session order by seq): each event's hash, from the hash before the
-- first of them. For verifying; append_events takes the same step, event by event.
create or replace aggregate starcite.chain(p_start bytea, p_link bytea) (
  sfunc = starcite.chain_step,
  stype = bytea
);
