import type { Db } from '../db/pool.ts'

const SET_INTERVAL = {
  name: 'set_segment_interval',
  text: `insert into starcite.settings as s (name, value) values ('segment_interval', $1)
         on conflict (name) do update set value = excluded.value where s.value <> excluded.value`,
}

/** The width of segments made from now on. */
export async function setSegmentInterval(db: Db, ms: number): Promise<void> {
  await db.query(SET_INTERVAL, [`${ms / 1000} seconds`])
}

const ENSURE_SEGMENTS = {
  name: 'ensure_segments',
  text: `select starcite.ensure_segment(clock_timestamp()),
                starcite.ensure_segment(clock_timestamp() + (select s.value::interval from starcite.settings s
                                                              where s.name = 'segment_interval'))`,
}

/** Makes sure of this segment and the next, by the database's clock. */
export async function ensureSegments(db: Db): Promise<void> {
  await db.query(ENSURE_SEGMENTS, [])
}
