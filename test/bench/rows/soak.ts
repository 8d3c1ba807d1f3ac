import { setTimeout as sleep } from 'node:timers/promises'
import { s3Env } from '../cold/s3Env.ts'
import { deadRows, type Sizes, sizesOver, sliceBytes } from '../cold/sizes.ts'
import { createSessions, type Lab, query } from '../lab.ts'
import { StarciteNode } from '../node.ts'
import type { Row } from './case.ts'

const SEGMENT_MS = 1000
const RETENTION_MS = 5000
const FIRST = 2
const LAST = 10
const LOAD = { connections: 16, perSecond: 1000 }
const SESSIONS = 100
const MEGABYTE = 1024 ** 2

export const SOAK = {
  id: 'soak',
  group: 'soak',
  name: 'database after ten retention periods, by that after two',
} as const

/**
 * Segments of a second, moved to S3 on loopback, under steady load. A Postgres of its own: where hours have become
 * seconds, so has the minute in which autovacuum comes round.
 */
export async function soakRow(lab: Lab): Promise<Row> {
  const { url } = await lab.ownPostgres('bench-soak', { autovacuum_naptime: '1s' })
  const settings = await (await lab.s3()).call('settings', 'soak')
  const env = {
    ...s3Env(settings),
    STARCITE_SEGMENT_INTERVAL: `${SEGMENT_MS / 1000}s`,
    STARCITE_HOT_RETENTION: `${RETENTION_MS / 1000}s`,
    STARCITE_ARCHIVE_FLUSH_INTERVAL_MS: '200',
  }
  const node = await lab.keep('the soaked node', () =>
    StarciteNode.start({ databaseUrl: url, settings: env }),
  )
  const sessions = await createSessions(url, 'soak', SESSIONS)
  const seconds = ((LAST + 1) * RETENTION_MS) / 1000
  const appending = (await lab.load()).call('paced', { ...LOAD, port: node.port, sessions, seconds })
  appending.catch(() => {}) // reported below
  await sleep(FIRST * RETENTION_MS)
  const first = await sizesOver(url, SEGMENT_MS)
  await sleep((LAST - FIRST) * RETENTION_MS - SEGMENT_MS)
  const last = await sizesOver(url, SEGMENT_MS)
  const dead = await deadRows(url, 5)
  const { count } = await appending
  const moved = await movedOf(url)
  if (moved.segments < ((LAST - 1) * RETENTION_MS) / SEGMENT_MS)
    throw new Error(`the job did not keep up: only ${moved.segments} segments are gone`)
  const { slices, bytes } = await sliceBytes(url)

  const note =
    `${count.toLocaleString('en')} events; ${moved.segments} segments gone, ${moved.events.toLocaleString('en')} events in objects; ` +
    `${describe(first, last)}; a slice takes ${Math.round(bytes / Math.max(1, slices))} bytes of the manifest; dead rows at the end: ${dead}`
  const without = (sizes: Sizes) => sizes.all - sizes.manifest
  return {
    ...SOAK,
    unit: '×',
    value: last.all / first.all,
    withoutManifest: without(last) / without(first),
    note,
  }
}

async function movedOf(url: string): Promise<{ segments: number; events: number }> {
  const [row] = await query(
    url,
    `select count(*) as segments, coalesce(sum(g.events), 0) as events from starcite.segments g where g.state = 'dropped'`,
  )
  return { segments: Number(row!.segments), events: Number(row!.events) }
}

function describe(first: Sizes, last: Sizes): string {
  const parts = (['all', 'events', 'manifest', 'catalog', 'others'] as const).map(
    (part) => `${part} ${(first[part] / MEGABYTE).toFixed(1)} → ${(last[part] / MEGABYTE).toFixed(1)}`,
  )
  return `MB: ${parts.join(', ')}`
}
