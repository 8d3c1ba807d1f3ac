import type { ClientBase } from 'pg'

/**
 * The catalog's description of each object: body, settings and attributes of its functions, their triggers, the
 * definition of a view. Text that Postgres words itself is kept apart, because another release may word it
 * differently.
 */
const PARTS = `
with named as (
  select o.name, case when strpos(o.name, '.') > 0 then split_part(o.name, '.', 1) else 'starcite' end::regnamespace as schema,
         regexp_replace(o.name, '^.*[.]', '') as rest
    from unnest($1::text[]) as o (name)
   where to_regnamespace(case when strpos(o.name, '.') > 0 then split_part(o.name, '.', 1) else 'starcite' end) is not null
), function as (
  select n.name, p.oid, concat_ws(' ', pg_get_function_identity_arguments(p.oid), p.prorettype::regtype, l.lanname,
           p.provolatile, p.proparallel, p.proisstrict, p.prosecdef, p.proconfig,
           p.prosrc, a.aggtransfn, a.agginitval) as part, pg_get_function_sqlbody(p.oid) as wording
    from named n
    join pg_catalog.pg_proc p on p.pronamespace = n.schema and p.proname = n.rest
    join pg_catalog.pg_language l on l.oid = p.prolang
    left join pg_catalog.pg_aggregate a on a.aggfnoid = p.oid
), part as (
  select f.name, f.part, f.wording from function f
   union all
  select f.name, concat_ws(' ', t.tgname, t.tgrelid::regclass, t.tgtype, t.tgenabled), pg_get_triggerdef(t.oid)
    from function f join pg_catalog.pg_trigger t on t.tgfoid = f.oid
   union all
  select n.name, concat_ws(' ', c.reloptions,
           (select string_agg(concat_ws(' ', a.attname, a.atttypid::regtype), ', ' order by a.attnum)
              from pg_catalog.pg_attribute a where a.attrelid = c.oid)), pg_get_viewdef(c.oid)
    from named n
    join pg_catalog.pg_class c on c.relnamespace = n.schema and c.relname = n.rest and c.relkind = 'v'
)
select p.name, concat_ws(':', current_setting('server_version_num')::int / 10000 || '/2',
         encode(sha256(convert_to(string_agg(p.part, E'\\n' order by p.part collate "C"), 'UTF8')), 'hex'),
         encode(sha256(convert_to(coalesce(string_agg(p.wording, E'\\n' order by p.wording collate "C"), ''), 'UTF8')), 'hex')) as fingerprint
  from part p
 group by p.name`

/**
 * By name; nothing for an object that does not exist. Run it with a pinned search path, which decides how names are
 * written.
 */
export async function fingerprintsOf(
  client: ClientBase,
  names: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const { rows } = await client.query<{ name: string; fingerprint: string }>(PARTS, [names])
  return new Map(rows.map((row) => [row.name, row.fingerprint]))
}

/**
 * Compares an object with its recorded fingerprint: `reworded` when only the text differs that Postgres makes of a
 * definition, as another major version does.
 */
export function compareFingerprints(
  noted: string | null | undefined,
  found: string | undefined,
): 'same' | 'reworded' | 'damaged' {
  if (found === undefined) return 'damaged'
  const [version, rest] = noted?.split(':') ?? []
  const [versionFound, restFound] = found.split(':')
  if (version !== versionFound || noted === found) return 'same'
  return rest === restFound ? 'reworded' : 'damaged'
}

export async function noteFingerprints(client: ClientBase, names: readonly string[]): Promise<void> {
  const found = await fingerprintsOf(client, names)
  await client.query(
    `update starcite.installed_objects o set fingerprint = f.fingerprint
       from unnest($1::text[], $2::text[]) as f (name, fingerprint)
      where o.name = f.name and o.fingerprint is distinct from f.fingerprint`,
    [[...found.keys()], [...found.values()]],
  )
}
