import type { ClientBase } from 'pg'

/**
 * What the catalog has of each object: body, settings and attributes of its functions, their triggers, the definition of a
 * view.
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
           coalesce(pg_get_function_sqlbody(p.oid), p.prosrc), a.aggtransfn, a.agginitval) as part
    from named n
    join pg_catalog.pg_proc p on p.pronamespace = n.schema and p.proname = n.rest
    join pg_catalog.pg_language l on l.oid = p.prolang
    left join pg_catalog.pg_aggregate a on a.aggfnoid = p.oid
), part as (
  select f.name, f.part from function f
   union all
  select f.name, concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled)
    from function f join pg_catalog.pg_trigger t on t.tgfoid = f.oid
   union all
  select n.name, concat_ws(' ', pg_get_viewdef(c.oid), c.reloptions)
    from named n
    join pg_catalog.pg_class c on c.relnamespace = n.schema and c.relname = n.rest and c.relkind = 'v'
)
select p.name, current_setting('server_version_num')::int / 10000 || ':'
               || encode(sha256(convert_to(string_agg(p.part, E'\\n' order by p.part collate "C"), 'UTF8')), 'hex') as fingerprint
  from part p
 group by p.name`

/** By name; none for an object that is not there. Run it with a pinned search path: it writes names as that has them. */
export async function fingerprintsOf(
  client: ClientBase,
  names: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const { rows } = await client.query<{ name: string; fingerprint: string }>(PARTS, [names])
  return new Map(rows.map((row) => [row.name, row.fingerprint]))
}

/** Whether an object is missing, or altered since this was noted of it. Another major version words definitions anew. */
export function isDamaged(noted: string | null | undefined, found: string | undefined): boolean {
  if (found === undefined) return true
  if (noted == null || versionOf(noted) !== versionOf(found)) return false
  return noted !== found
}

const versionOf = (fingerprint: string) => fingerprint.slice(0, fingerprint.indexOf(':'))

export async function noteFingerprints(client: ClientBase, names: readonly string[]): Promise<void> {
  const found = await fingerprintsOf(client, names)
  await client.query(
    `update starcite.installed_objects o set fingerprint = f.fingerprint
       from unnest($1::text[], $2::text[]) as f (name, fingerprint)
      where o.name = f.name and o.fingerprint is distinct from f.fingerprint`,
    [[...found.keys()], [...found.values()]],
  )
}
