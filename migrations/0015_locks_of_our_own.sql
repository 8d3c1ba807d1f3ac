-- breaking: no. Older nodes never look at the table. While builds with and without it run side by side, newer ones also take
-- the advisory locks of the older ones (docs/decisions/0019).
--
-- What the whole database does once at a time, whichever node does it. Advisory locks can be taken by every login that may
-- connect, and kept; rows of this table can be locked by the owner of the schema alone.
set local lock_timeout = '2s';

create table starcite.locks (
  name text primary key,
  pid int,
  key bigint,
  since timestamptz,
  constraint locks_holder_is_whole check (num_nonnulls(pid, key, since) in (0, 3))
);
insert into starcite.locks (name) values ('segments'), ('lifecycle'), ('tiering'), ('checkpoints');

comment on table starcite.locks is 'One row for each thing that is done once at a time.';
comment on column starcite.locks.name is 'segments and lifecycle are locked as rows, for one transaction; tiering and checkpoints have a holder.';
comment on column starcite.locks.pid is 'The backend that holds it, if that lives: null, or a backend that has no advisory lock on the key, holds nothing.';
comment on column starcite.locks.key is 'The advisory lock that the holder has taken as a sign of life. A new random number each time, so that knowing it is of no use to anybody.';
comment on column starcite.locks.since is 'When it was taken.';
