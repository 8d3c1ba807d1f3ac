import { type Env, EnvReader } from './lib/env.ts'

/** Everything that was wrong with the environment, in one error. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(
      `the configuration has ${problems.length} problem(s):\n${problems.map((it) => `  - ${it}`).join('\n')}`,
    )
    this.problems = problems
  }
}

export type Config = ReturnType<typeof loadConfig>

/** The one reading of the environment. docs/configuration.md describes every variable; a test holds the two together. */
export function loadConfig(env: Env) {
  const read = new EnvReader(env)
  const databaseUrl = read.postgresUrl('DATABASE_URL', 'STARCITE_POSTGRES_URL')
  const poolSize = read.int('DB_POOL_SIZE', { default: 10, min: 3, max: 1000 })
  const config = {
    port: read.int('PORT', { default: 4000, min: 0, max: 65_535 }),
    host: read.text('STARCITE_HOST', undefined),
    opsPort: read.raw('STARCITE_OPS_PORT')
      ? read.int('STARCITE_OPS_PORT', { default: 0, min: 0, max: 65_535 })
      : undefined,
    /** Authentication by JWT is not built yet; asking for it must not silently leave the door open. */
    authMode: read.oneOf('STARCITE_AUTH_MODE', ['none'], 'none'),
    logLevel: read.oneOf(
      'STARCITE_LOG_LEVEL',
      ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
      'info',
    ),
    shutdownGraceMs: read.duration('STARCITE_SHUTDOWN_GRACE', { default: '20s', min: '0s', max: '10m' }),
    drainSpreadMs: read.duration('STARCITE_DRAIN_SPREAD', { default: '3s', min: '0s', max: '5m' }),
    corsOrigin: read.text('STARCITE_CORS_ORIGIN', '*'),

    database: {
      /** Absent: the service starts its own embedded Postgres. */
      url: databaseUrl,
      /** LISTEN, migrations and leader locks need a direct connection when `url` goes through a pooler. */
      directUrl: read.postgresUrl('STARCITE_LISTEN_URL') ?? databaseUrl,
      embeddedDir: read.text('STARCITE_DATA_DIR', '.starcite/postgres'),
      poolSize,
      preparedStatements: read.flag('STARCITE_PREPARED_STATEMENTS', true),
      /** The longest that a caller waits for Postgres before it is told 503. */
      timeoutMs: read.duration('STARCITE_STORAGE_TIMEOUT', { default: '5s', min: '100ms', max: '5m' }),
      /** How long a starting node waits for a database that is not there yet. */
      startupWaitMs: read.duration('STARCITE_STARTUP_WAIT', { default: '60s', min: '0s', max: '1h' }),
      segmentIntervalMs: read.duration('STARCITE_SEGMENT_INTERVAL', { default: '6h', min: '1s', max: '30d' }),
    },

    append: {
      lanes: read.int('STARCITE_APPEND_LANES', {
        default: Math.min(2, poolSize - 1),
        min: 1,
        max: poolSize - 1,
      }),
      batchEvents: read.int('STARCITE_APPEND_BATCH_EVENTS', { default: 256, min: 1, max: 10_000 }),
      batchBytes: read.size('STARCITE_APPEND_BATCH_BYTES', { default: '4MB', min: '1KB', max: '64MB' }),
      /** Per lane; past either bound an append is answered 429. */
      queueEvents: read.int('STARCITE_APPEND_QUEUE_EVENTS', { default: 10_000, min: 1, max: 10_000_000 }),
      queueBytes: read.size('STARCITE_APPEND_QUEUE_BYTES', { default: '64MB', min: '1KB', max: '8GB' }),
    },

    limits: {
      eventBytes: read.size('STARCITE_MAX_EVENT_BYTES', { default: '1MB', min: '1KB', max: '64MB' }),
      batchBytes: read.size('STARCITE_MAX_BATCH_BYTES', { default: '8MB', min: '1KB', max: '256MB' }),
      batchEvents: read.int('STARCITE_MAX_BATCH_EVENTS', { default: 1000, min: 1, max: 10_000 }),
      sockets: read.int('STARCITE_MAX_SOCKETS', { default: 20_000, min: 1, max: 1_000_000 }),
    },

    tail: {
      /** Newest events kept per tailed session, and their bytes over all sessions of the node. */
      ringEvents: read.int('STARCITE_RING_EVENTS', { default: 512, min: 1, max: 100_000 }),
      ringBytes: read.size('STARCITE_RING_BYTES', { default: '128MB', min: '64KB', max: '64GB' }),
      /** How often the heads of tailed sessions are read, whatever notifications say. */
      pollIntervalMs: read.duration('STARCITE_POLL_INTERVAL', { default: '1s', min: '50ms', max: '5m' }),
      pingIntervalMs: read.duration('STARCITE_PING_INTERVAL', { default: '25s', min: '100ms', max: '10m' }),
      /** A peer that takes nothing at all for this long is closed with 1013. */
      stallMs: read.duration('STARCITE_STALL_TIMEOUT', { default: '60s', min: '100ms', max: '1h' }),
    },
  }
  if (read.problems.length > 0) throw new ConfigError(read.problems)
  return Object.freeze(config)
}
