import { gunzipSync } from 'node:zlib'
import type pg from 'pg'
import type { ObjectStore } from '../../src/objects/objectStore.ts'

const UNDEFINED_TABLE = '42P01'

/** Every place in tables and objects that still has a text, for a reader with all rights. */
export async function residueOf(db: pg.Client, store: ObjectStore, marker: string): Promise<string[]> {
  const found: string[] = []
  const { rows } = await db.query<{ name: string }>(
    `select c.oid::regclass::text as name from pg_class c
      where c.relnamespace = 'starcite'::regnamespace and c.relkind = 'r' and c.relname <> 'archive_objects'
      union all select 'pg_catalog.pg_stats'`,
  )
  for (const { name } of rows) {
    const hits = await db
      .query(`select from ${name} t where strpos(t::text, $1) > 0`, [marker])
      .catch((error: { code?: string }) => {
        if (error.code !== UNDEFINED_TABLE) throw error
        return { rowCount: 0 } // a segment that was dropped since we listed them
      })
    if (hits.rowCount) found.push(`${hits.rowCount} rows of ${name}`)
  }
  for (const [key, lines] of await linesOfStore(store))
    if (lines.some((line) => line.includes(marker))) found.push(`object ${key}`)
  return found
}

/** The lines of every object in the store. */
export async function linesOfStore(store: ObjectStore): Promise<Map<string, string[]>> {
  const lines = new Map<string, string[]>()
  for await (const { key } of store.list('v1/'))
    lines.set(
      key,
      gunzipSync(await store.get(key))
        .toString()
        .trimEnd()
        .split('\n'),
    )
  return lines
}

/** Files of the database in which the bytes stand, by what they belong to. Reads them as the server has them on disk. */
export async function residueOnDisk(db: pg.Client, marker: string): Promise<string[]> {
  await db.query('checkpoint')
  const { rows } = await db.query<{ file: string }>(
    `select distinct coalesce(pg_filenode_relation(0, regexp_replace(f.name, '[._].*', '')::oid)::regclass::text, f.name) as file
       from (select 'base/' || d.oid as path from pg_database d where d.datname = current_database()) d
      cross join lateral pg_ls_dir(d.path) as f (name)
      where f.name ~ '^\\d+(\\.\\d+)?$'
        and position(convert_to($1, 'UTF8') in pg_read_binary_file(d.path || '/' || f.name, 0, 200000000, true)) > 0
      order by 1`,
    [marker],
  )
  return rows.map(({ file }) => file)
}

/**
 * What keeps Postgres from taking dead rows away: transactions of any database of the server, because the snapshot
 * that a rewrite takes is as old as the oldest of them; and slots of replication.
 */
export async function snapshots(db: pg.Client): Promise<object[]> {
  const { rows } = await db.query(
    `select a.datname, a.backend_type, a.application_name, a.state, a.query, a.backend_xid::text as xid,
            a.backend_xmin::text as xmin
       from pg_stat_activity a
      where coalesce(a.backend_xid, a.backend_xmin) is not null and a.pid <> pg_backend_pid()
     union all
     select s.database, 'slot', s.slot_name::text, null, null, null, coalesce(s.catalog_xmin, s.xmin)::text
       from pg_replication_slots s`,
  )
  return rows
}
