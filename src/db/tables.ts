import type { ClientBase } from 'pg'

/**
 * The catalog's description of each table: columns, constraints, indexes, row security, policies. It omits what
 * operators may tune (storage parameters, validation), and what starcite.grant_roles creates where it is missing.
 */
const FOUND = `
  select t.relname::text as relation, p.part, p.definition
    from pg_catalog.pg_class t
   cross join lateral (
     select 'column ' || a.attname as part,
            concat_ws(' ', format_type(a.atttypid, a.atttypmod),
                      'collate ' || quote_ident((select l.collname from pg_catalog.pg_collation l where l.oid = a.attcollation)),
                      case when a.attnotnull then 'not null' end, 'identity ' || nullif(a.attidentity::text, ''),
                      'default ' || (select pg_get_expr(d.adbin, d.adrelid) from pg_catalog.pg_attrdef d
                                      where d.adrelid = a.attrelid and d.adnum = a.attnum)) as definition
       from pg_catalog.pg_attribute a
      where a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
      union all
     select 'constraint ' || k.conname, regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', '')
       from pg_catalog.pg_constraint k
      where k.conrelid = t.oid and k.contype in ('c', 'f', 'p', 'u', 'x') and k.conparentid = 0
      union all
     select 'index ' || i.relname,
            regexp_replace(pg_get_indexdef(i.oid), ' WITH [(][^()]*[)]', '') || case when x.indisvalid then '' else ' invalid' end
       from pg_catalog.pg_index x
       join pg_catalog.pg_class i on i.oid = x.indexrelid
      where x.indrelid = t.oid
      union all
     select 'row security', 'enabled' where t.relrowsecurity
      union all
     select 'policy ' || o.polname,
            concat_ws(' ', o.polcmd, o.polpermissive, array(select pg_get_userbyid(r) from unnest(o.polroles) r), pg_get_expr(o.polqual, o.polrelid),
                      'check ' || pg_get_expr(o.polwithcheck, o.polrelid))
       from pg_catalog.pg_policy o
      where o.polrelid = t.oid and o.polname <> 'nodes_see_all'
   ) p
   where t.relnamespace = to_regnamespace('starcite') and t.relkind in ('r', 'p') and not t.relispartition`

/**
 * Another release of Postgres, also a minor one, may word definitions differently: then only the existence of parts
 * is compared.
 */
const SERVER = `current_setting('server_version_num')::int`

/** A table that is missing as a whole is one row, and has no part. */
const DAMAGED = `
with found as (${FOUND})
select distinct n.relation, case when to_regclass('starcite.' || quote_ident(n.relation)) is not null then n.part end as part,
       f.part is not null as "isAltered"
  from starcite.installed_tables n
  left join found f on f.relation = n.relation and f.part = n.part
 where f.part is null or (f.definition <> n.definition and n.server_version = ${SERVER})
 order by 1, 2`

const NOTED = `
select not exists (select from starcite.installed_tables n) as "isEmpty",
       exists (select from starcite.installed_tables n where n.server_version <> ${SERVER}) as "isOfAnotherRelease"`

/** An incomplete restore leaves hundreds. */
const MAX_NAMED = 20

/** Reinstalling cannot recreate a table as it was. */
export const RESTORE_COMPLETELY =
  'Installing again does not repair tables: restore the backup completely (docs/deployment.md, "Dumps")'

/**
 * Describes what the tables lack of the parts that were recorded after the last migrations; additions are ignored.
 * Nothing before a migration has made the record. Run it with a pinned search path, which decides how definitions are
 * written.
 */
export async function damagedTables(client: ClientBase): Promise<string[]> {
  const noted = await readNote(client)
  if (noted === undefined) return []
  if (noted.isEmpty)
    return ['starcite.installed_tables is empty: the restore was interrupted before its rows']
  const { rows } = await client.query<{ relation: string; part: string | null; isAltered: boolean }>(DAMAGED)
  const words = rows.slice(0, MAX_NAMED).map(({ relation, part, isAltered }) => {
    if (part === null) return `starcite.${relation} is missing`
    return isAltered ? `starcite.${relation} has a different ${part}` : `starcite.${relation} lacks ${part}`
  })
  return rows.length > MAX_NAMED ? [...words, `and ${rows.length - MAX_NAMED} more`] : words
}

/** Records the parts of `tables`, in place of the earlier record. Runs in the transaction that migrated them. */
export async function noteTables(client: ClientBase, tables: readonly string[]): Promise<void> {
  await client.query('delete from starcite.installed_tables')
  await client.query(
    `insert into starcite.installed_tables (relation, part, definition, server_version)
     select f.relation, f.part, f.definition, ${SERVER}
       from (${FOUND}) f
      where 'starcite.' || f.relation = any ($1::text[])`,
    [tables],
  )
}

/** Whether the record was made by another release of Postgres, with its wording. */
export async function isWordedOtherwise(client: ClientBase): Promise<boolean> {
  return (await readNote(client))?.isOfAnotherRelease ?? false
}

/** Nothing before the migration that creates the record. */
async function readNote(client: ClientBase) {
  const { rows: tables } = await client.query<{ isThere: boolean }>(
    `select to_regclass('starcite.installed_tables') is not null as "isThere"`,
  )
  if (!tables[0]?.isThere) return undefined
  const { rows } = await client.query<{ isEmpty: boolean; isOfAnotherRelease: boolean }>(NOTED)
  return rows[0]
}
