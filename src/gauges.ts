import type { Appender } from './append/appender.ts'
import type { CheckpointJob } from './audit/checkpoints/checkpointJob.ts'
import type { Database } from './db/database.ts'
import type { PoolSize } from './db/pool.ts'
import type { HttpServer } from './http/server.ts'
import type { Sockets } from './http/transports/sockets.ts'
import type { Idleness } from './lib/idleness.ts'
import type { MemoryBudget } from './lib/memoryBudget.ts'
import type { UnreadBudget } from './lib/unreadBudget.ts'
import type { LifecycleFeed } from './lifecycle/feed.ts'
import type { Hub } from './live/hub.ts'
import type { Metrics } from './ops/metrics.ts'
import type { ColdReader } from './tiering/cold/coldReader.ts'
import type { TieringJob } from './tiering/tieringJob.ts'

export interface Parts {
  readonly idleness: Idleness
  readonly database: Database
  readonly appender: Appender
  readonly hub: Hub
  readonly lifecycle: LifecycleFeed
  readonly sockets: Sockets
  readonly arriving: MemoryBudget
  readonly answers: MemoryBudget
  readonly unread: UnreadBudget
  readonly tiering: TieringJob
  readonly cold: ColdReader
  readonly http: HttpServer
}

/** Gauges that read the parts of a node when Prometheus asks for the metrics. */
export function gaugesOf(metrics: Metrics, parts: Parts): void {
  const {
    idleness,
    database,
    appender,
    hub,
    lifecycle,
    sockets,
    arriving,
    answers,
    unread,
    tiering,
    cold,
    http,
  } = parts
  const pools = (read: (size: PoolSize) => number) => () => {
    const { append, read: other } = database.pools
    return { append: read(append), read: read(other) }
  }
  metrics.gauge('starcite_idle', '1 while the node sends Postgres nothing', () => (idleness.isIdle ? 1 : 0))
  metrics.gauge('starcite_tails', 'Tails open on this node', () => hub.tails)
  metrics.gauge(
    'starcite_lifecycle_followers',
    'Lifecycle feeds open on this node',
    () => lifecycle.followers,
  )
  metrics.gauges('starcite_sockets', 'Long-lived connections of this node', 'transport', () => sockets.counts)
  metrics.gauge('starcite_http_connections', 'Connections to the API', () => http.connections)
  metrics.gauge('starcite_body_bytes', 'Bodies and frames that are arriving', () => arriving.usedBytes)
  metrics.gauge('starcite_answer_bytes', 'Answers that wait to be written', () => answers.usedBytes)
  metrics.gauge(
    'starcite_unread_bytes',
    'Bytes sent to tails and not read by their clients yet',
    () => unread.usedBytes,
  )
  metrics.gauge(
    'starcite_append_queue_events',
    'Events in the append queue or in a call to Postgres',
    () => appender.waiting.count,
  )
  metrics.gauge(
    'starcite_append_queue_bytes',
    'Characters of JSON in the append queue or in a call to Postgres',
    () => appender.waiting.bytes,
  )
  metrics.gauge('starcite_ring_bytes', 'Memory of newest events, kept for live tails', () => hub.ringBytes)
  metrics.gauges(
    'starcite_db_pool_size',
    'Maximum number of connections of a pool',
    'pool',
    pools(({ max }) => max),
  )
  metrics.gauges(
    'starcite_db_pool_connections',
    'Connections of a pool',
    'pool',
    pools(({ total }) => total),
  )
  metrics.gauges(
    'starcite_db_pool_in_use',
    'Connections of a pool with a query under way',
    'pool',
    pools(({ total, idle }) => total - idle),
  )
  metrics.gauges(
    'starcite_db_pool_given_up',
    'Connections of a pool with a query that was given up at its time-out and that Postgres has not ended yet',
    'pool',
    pools(({ givenUp }) => givenUp),
  )
  metrics.gauge(
    'starcite_notify_queue_usage',
    "Used share of the Postgres server's notification queue, as last seen",
    () => database.notifyQueue.usage,
  )
  metrics.gauges(
    'starcite_db_pool_waiting',
    'Callers waiting for a database connection',
    'pool',
    pools(({ waiting }) => waiting),
  )
  metrics.gauge(
    'starcite_archive_pending_rows',
    'Events of due segments that are not moved yet, by the estimate of Postgres',
    () => tiering.status.pendingEvents,
  )
  metrics.gauge(
    'starcite_archive_lag',
    'Seconds since the oldest segment that is not moved yet became due',
    () => tiering.status.lagSeconds,
  )
  metrics.gauge(
    'starcite_set_aside_sessions',
    'Sessions that are not moved because their log is damaged',
    () => tiering.status.setAside,
  )
  metrics.gauge(
    'starcite_erasures_pending',
    'Erasures whose content is not removed everywhere yet',
    () => tiering.erasures.pending,
  )
  metrics.gauge(
    'starcite_erasure_lag',
    'Seconds since the oldest pending erasure was requested',
    () => tiering.erasures.oldestSeconds,
  )
  metrics.gauge(
    'starcite_retention_requests',
    'Sessions, and segments of tenants, that are erased by age once their grace is over',
    () => tiering.retention.requests,
  )
  metrics.gauge(
    'starcite_retention_clock_trusted',
    "1, or 0 while nothing is erased by age because the database's clock runs ahead",
    () => (tiering.retention.clockTrusted ? 1 : 0),
  )
  metrics.gauge(
    'starcite_archive_read_cache_bytes',
    'Memory of events read from objects',
    () => cold.cachedBytes,
  )
}

/** Gauges of a node that checks tokens. */
export function measureKeys(
  metrics: Metrics,
  keys: { readonly size: number; readonly ageSeconds: number },
): void {
  metrics.gauge('starcite_jwks_keys', 'Keys of the issuer that tokens are checked with', () => keys.size)
  metrics.gauge(
    'starcite_jwks_age_seconds',
    'Seconds since the keys of the issuer were last fetched',
    () => keys.ageSeconds,
  )
}

export function checkpointGauges(metrics: Metrics, job: CheckpointJob): void {
  metrics.gauge('starcite_checkpoint_number', 'Number of the newest checkpoint of any node', () => job.number)
  metrics.gauge(
    'starcite_checkpoint_contradictions',
    'Logs that contradict a checkpoint, and whose discontinuity no checkpoint has recorded',
    () => job.contradictions,
  )
  metrics.gauge(
    'starcite_checkpoint_age_seconds',
    'Seconds since the newest checkpoint was taken; while there is none, since this node started',
    () => job.ageSeconds,
  )
}
