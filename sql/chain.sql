-- starcite.chain(start, link) over (partition by session order by seq): each event's hash, from the hash before the
-- first of them. Appending and verifying share it, so they cannot disagree.
create or replace aggregate starcite.chain(p_start bytea, p_link bytea) (
  sfunc = starcite.chain_step,
  stype = bytea
);
