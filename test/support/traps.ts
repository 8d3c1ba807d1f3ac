import { readdir, readFile } from 'node:fs/promises'
import type pg from 'pg'

const SOURCES = [new URL('../../src/', import.meta.url), new URL('../../sql/', import.meta.url)]

/** Every word in our statements that could be the name of a function, a table or a type. */
async function wordsOfSources(): Promise<string[]> {
  const words = new Set<string>()
  for (const directory of SOURCES)
    for (const file of await readdir(directory, { recursive: true }))
      if (/\.(ts|sql)$/.test(file))
        for (const [word] of (await readFile(new URL(file, directory), 'utf8')).matchAll(
          /\b[a-z_0-9]{2,63}\b/g,
        ))
          words.add(word)
  return [...words]
}

/** Counts calls of traps. A sequence keeps its count through a rollback. */
const ALARM = `
create sequence SCHEMA.steps;
create function SCHEMA.step(p_on pg_catalog.text) returns pg_catalog.bool
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$ begin perform nextval('SCHEMA.steps'); raise exception 'a trap was called: %', p_on; end $$;`

/** Functions of each name that the catalog has, in its shapes and in ones that fit better. */
const FUNCTIONS = `
do $$
declare
  c_concrete constant text[] := '{text,varchar,int4,int8,bool,bytea,json,jsonb,timestamptz,interval,uuid,oid,text[],int8[]}';
  r record;
  v_args text;
begin
  set local check_function_bodies = off;
  for r in
    select distinct p.proname, p.proretset, format_type(p.prorettype, null) as result, a.args
      from pg_catalog.pg_proc p
     cross join lateral (select array_agg(format_type(t, null) order by o) as types
                           from unnest(p.proargtypes) with ordinality as u (t, o)) t
     cross join lateral (
            select array_to_string(t.types, ', ') as args
             union
            select replace(array_to_string(t.types, ', '), f.a, f.b)
              from (values ('bigint', 'integer'), ('text', 'character varying'), ('double precision', 'numeric'),
                           ('oid', 'integer'), ('oid', 'regclass'), ('name', 'text')) as f (a, b)
             union
            select regexp_replace(array_to_string(t.types, ', '), '\\many\\w*|"any"', c, 'g') from unnest(c_concrete) as c
           ) a
     where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind in ('f', 'a', 'w') and p.proname = any (WORDS)
  loop
    begin
      execute format('create function SCHEMA.%I(%s) returns %s %s language plpgsql as %L', r.proname, r.args,
                     case when r.proretset then 'setof' end,
                     case when r.result ~ '^any|^internal|^"any"' then 'text' else r.result end,
                     format('begin perform SCHEMA.step(%L); end', 'function ' || r.proname || '(' || r.args || ')'));
    exception when others then null;  -- shapes that only the catalog can have
    end;
  end loop;
end
$$`

const OPERATORS = `
do $$
declare
  c_types constant text[] := '{text,varchar,name,int4,int8,numeric,float8,bool,bytea,json,jsonb,timestamptz,timestamp,interval,uuid,oid,regclass,text[],int8[]}';
  c_names constant text[] := '{=,<>,<,<=,>,>=,~,!~,~*,~~,@>,&&,||,+,-,*,/,%,->,->>}';
  l text;
  r text;
  o text;
begin
  set local check_function_bodies = off;
  foreach l in array c_types loop
    foreach r in array c_types loop
      execute format('create function SCHEMA.compares(%s, %s) returns bool language plpgsql as %L', l, r,
                     format('begin return SCHEMA.step(%L); end', 'operator of ' || l || ' and ' || r));
      execute format('create function SCHEMA.makes(%s, %s) returns %s language plpgsql as %L', l, r, l,
                     format('begin perform SCHEMA.step(%L); end', 'operator of ' || l || ' and ' || r));
      foreach o in array c_names loop
        execute format('create operator SCHEMA.%s (function = SCHEMA.%s, leftarg = %s, rightarg = %s)', o,
                       case when o ~ '^[=<>~!@&]+$' then 'compares' else 'makes' end, l, r);
      end loop;
    end loop;
  end loop;
end
$$`

/** Tables of the catalog and of ours, and types: a domain is looked up like its type, and checks what it is given. */
const NAMES = `
do $$
declare
  r record;
begin
  for r in select distinct c.relname from pg_catalog.pg_class c
            where c.relnamespace = 'pg_catalog'::regnamespace and c.relkind in ('r', 'v') and c.relname = any (WORDS)
  loop
    execute format('create view SCHEMA.%I as select SCHEMA.step(%L) as oid', r.relname, 'relation ' || r.relname);
  end loop;
  for r in select w.name from unnest('{sessions,session_heads,events,producers,segments,settings,objects,slices}'::text[]) as w (name) loop
    execute format('create view SCHEMA.%I as select SCHEMA.step(%L) as sid', r.name, 'relation ' || r.name);
  end loop;
  for r in select t.typname from pg_catalog.pg_type t
            where t.typnamespace = 'pg_catalog'::regnamespace and t.typtype = 'b' and t.typelem = 0
              and t.typname = any (WORDS || '{text,json,jsonb,bytea,uuid,timestamptz,regclass,regrole,oid,name,int4,int8,bool,text}')
  loop
    execute format('create domain SCHEMA.%I as pg_catalog.%I check (SCHEMA.step(%L))', r.typname, r.typname, 'type ' || r.typname);
  end loop;
end
$$`

/**
 * Fills a schema with functions, operators, types and relations that our statements would meet if they looked there; each
 * raises an alarm, and an error. `client` belongs to a login that may create there, and has an empty search path.
 */
export async function layTraps(client: pg.Client, schema: string): Promise<void> {
  const words = `'{${(await wordsOfSources()).join(',')}}'::text[]`
  const open = 'grant select on all tables in schema SCHEMA to public'
  for (const statement of [ALARM, FUNCTIONS, OPERATORS, NAMES, open])
    await client.query(statement.replaceAll('SCHEMA', schema).replaceAll('WORDS', words))
}

/** How often one was stepped on. */
export async function stepsOn(client: pg.Client, schema: string): Promise<number> {
  const { rows } = await client.query(
    `select case when s.is_called then s.last_value else 0 end::int as steps from ${schema}.steps s`,
  )
  return rows[0].steps
}
