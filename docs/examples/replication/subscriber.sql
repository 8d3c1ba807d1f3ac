-- In a database of your own, Postgres 14 or newer. Names must be those of the primary; columns may be left out here when
-- the publication leaves them out too. Indexes are yours to choose.
create schema starcite;

create table starcite.sessions (
  sid bigint primary key,
  tenant_id text not null,
  id text not null,
  title text,
  metadata json,
  creator_principal json,
  version bigint,
  archived boolean,
  created_at timestamptz,
  updated_at timestamptz,
  erased_at timestamptz,
  unique (tenant_id, id)
);

create table starcite.events (
  sid bigint,
  seq bigint,
  inserted_at timestamptz not null,
  producer_seq bigint,
  type text not null,
  actor text not null,
  source text,
  producer_id text,
  idempotency_key text,
  payload json,
  metadata json,
  refs json,
  salt bytea,
  content_digest bytea,
  hash bytea,
  subject text,
  chain_version smallint,
  primary key (sid, seq)
);
create index on starcite.events (actor, inserted_at);

create table starcite.session_changes (
  change_id bigint primary key,
  sid bigint not null,
  tenant_id text not null,
  kind text not null,
  at timestamptz not null,
  actor text,
  request_id text,
  version bigint,
  title text,
  metadata json,
  place bigint,
  number bigint
);

-- Copies what there is, and follows from there.
create subscription starcite_mirror
  connection 'host=primary dbname=app user=starcite_mirror_reader password=…'
  publication starcite;

-- An example of its use: events per session, type and day, counted as they arrive. The initial copy fills tables side by side,
-- so an event may come before its session: look the session up when you read. Triggers fire for replicated rows only when they
-- are enabled for it.
create table public.events_per_day (
  sid bigint,
  type text,
  day date,
  events bigint not null,
  primary key (sid, type, day)
);

create function public.count_event() returns trigger language plpgsql as $$
begin
  insert into public.events_per_day as d (sid, type, day, events)
  values (new.sid, new.type, (new.inserted_at at time zone 'UTC')::date, 1)
  on conflict (sid, type, day) do update set events = d.events + 1;
  return null;
end
$$;

create trigger count_event after insert on starcite.events for each row execute function public.count_event();
alter table starcite.events enable always trigger count_event;
