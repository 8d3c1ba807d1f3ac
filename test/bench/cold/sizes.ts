import { setTimeout as sleep } from 'node:timers/promises'
import { query } from '../lab.ts'
import { median } from '../stats.ts'

export interface Sizes {
  /** Bytes of the database, and of parts of it: a row for each object, slice and segment is kept for ever. */
  readonly all: number
  readonly events: number
  readonly manifest: number
  readonly catalog: number
  readonly others: number
}

const READINGS = 5

const SIZES = `
  with t as (
    select pg_total_relation_size(c.oid) as bytes,
           case when n.nspname = 'pg_catalog' then 'catalog'
                when n.nspname <> 'starcite' then 'others'
                when c.relname in ('objects', 'slices', 'segments') then 'manifest'
                when c.relname ~ '^events_' then 'events'
                else 'others' end as part
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'r')
  select pg_database_size(current_database()) as all,
         coalesce(sum(bytes) filter (where part = 'events'), 0) as events,
         coalesce(sum(bytes) filter (where part = 'manifest'), 0) as manifest,
         coalesce(sum(bytes) filter (where part = 'catalog'), 0) as catalog,
         coalesce(sum(bytes) filter (where part = 'others'), 0) as others
    from t`

/** Medians of readings spread over `ms`, for partitions come and go. */
export async function sizesOver(url: string, ms: number): Promise<Sizes> {
  const readings: Record<string, unknown>[] = []
  for (let n = 0; n < READINGS; n++) {
    readings.push((await query(url, SIZES))[0]!)
    await sleep(ms / READINGS)
  }
  const of = (part: keyof Sizes) => median(readings.map((reading) => Number(reading[part])))
  return {
    all: of('all'),
    events: of('events'),
    manifest: of('manifest'),
    catalog: of('catalog'),
    others: of('others'),
  }
}

/** Tables with the most dead rows, in words. */
export async function deadRows(url: string, count: number): Promise<string> {
  const rows = await query(
    url,
    `select s.relname, s.n_dead_tup as dead, pg_total_relation_size(s.relid) / 1024 as kb
       from pg_stat_all_tables s where s.n_dead_tup > 0 order by s.n_dead_tup desc limit $1`,
    [count],
  )
  return rows.map(({ relname, dead, kb }) => `${relname} ${dead} (${kb} KB)`).join(', ') || 'none'
}

/** What a row of the manifest takes, with its part of the indexes. */
export async function sliceBytes(url: string): Promise<{ slices: number; bytes: number }> {
  const [row] = await query(
    url,
    `select count(*) as slices, pg_total_relation_size('starcite.slices') as bytes from starcite.slices`,
  )
  return { slices: Number(row!.slices), bytes: Number(row!.bytes) }
}
