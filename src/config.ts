import { readArchive } from './config/archive.ts'
import { readAuth } from './config/auth.ts'
import { readCheckpoints } from './config/checkpoints.ts'
import { readReach } from './config/reach.ts'
import { closest } from './lib/closest.ts'
import { type Env, EnvReader } from './lib/env.ts'

/** Every problem of the environment, in one error. */
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

/** Reads the environment, once, and throws a ConfigError for all of its problems. docs/configuration.md describes every variable. */
export function loadConfig(env: Env) {
  return configOf(new EnvReader(env))
}

/** Settings that the program does not read, which have no effect; each with the name that it may stand for. */
export function unknownSettings(env: Env): { readonly name: string; readonly near: string | undefined }[] {
  const read = new EnvReader(env)
  try {
    configOf(read)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
  }
  const known = [...read.names, ...FOR_CLIENTS]
  return Object.keys(env)
    .filter(
      (name) => name.startsWith('STARCITE_') && !name.startsWith('STARCITE_TEST_') && !known.includes(name),
    )
    .map((name) => ({ name, near: closest(name, known) }))
}

/** Variables of commands that speak to a node. */
const FOR_CLIENTS = ['STARCITE_URL', 'STARCITE_TOKEN']

function configOf(read: EnvReader) {
  const databaseUrl = read.postgresUrl('DATABASE_URL', 'STARCITE_POSTGRES_URL')
  const poolSize = read.int('DB_POOL_SIZE', { default: 10, min: 3, max: 1000 })
  const auth = readAuth(read)
  const config = {
    ...readReach(read, auth.jwt !== undefined),
    port: read.int('PORT', { default: 4000, min: 0, max: 65_535 }),
    opsPort: read.raw('STARCITE_OPS_PORT')
      ? read.int('STARCITE_OPS_PORT', { default: 0, min: 0, max: 65_535 })
      : undefined,
    /** The scope that erases sessions, redacts events and reads receipts. */
    eraseScope: read.oneOf('STARCITE_ERASE_SCOPE', ['session:create', 'session:erase'], 'session:create'),
    logLevel: read.oneOf(
      'STARCITE_LOG_LEVEL',
      ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
      'info',
    ),
    shutdownGraceMs: read.duration('STARCITE_SHUTDOWN_GRACE', { default: '20s', min: '0s', max: '10m' }),
    /** Time that a node still serves when it is no longer ready, until load balancers notice. */
    drainDelayMs: read.duration('STARCITE_DRAIN_DELAY', { default: '0s', min: '0s', max: '5m' }),
    drainSpreadMs: read.duration('STARCITE_DRAIN_SPREAD', { default: '3s', min: '0s', max: '5m' }),
    accessLog: read.flag('STARCITE_ACCESS_LOG', false),
    /** The commit of the source of this build; images set it. */
    commit: read.text('STARCITE_COMMIT', undefined),
    /** Time without notifications before a node is no longer ready; tails poll meanwhile. */
    listenerGraceMs: read.duration('STARCITE_LISTENER_GRACE', { default: '2m', min: '0s', max: '1h' }),

    http: {
      headersMs: read.duration('STARCITE_HEADERS_TIMEOUT', { default: '20s', min: '100ms', max: '10m' }),
      /** From the first byte of a request to the last of its body. */
      requestMs: read.duration('STARCITE_REQUEST_TIMEOUT', { default: '60s', min: '100ms', max: '1h' }),
      /** Above the idle time-outs of common load balancers (60 s): they close first, and no request meets a closed connection. */
      keepAliveMs: read.duration('STARCITE_KEEP_ALIVE_TIMEOUT', { default: '75s', min: '1s', max: '1h' }),
      connections: read.int('STARCITE_MAX_CONNECTIONS', { default: 25_000, min: 1, max: 1_000_000 }),
    },

    database: {
      /** Undefined: the node starts an embedded Postgres. */
      url: databaseUrl,
      /** For LISTEN, migrations and job locks, which need a direct connection when `url` leads to a pooler. */
      directUrl: read.postgresUrl('STARCITE_LISTEN_URL') ?? databaseUrl,
      /** Logins with the rights of one duty each; undefined: that of `directUrl`. */
      migrateUrl: read.postgresUrl('STARCITE_MIGRATE_URL'),
      tieringUrl: read.postgresUrl('STARCITE_TIERING_URL'),
      embeddedDir: read.text('STARCITE_DATA_DIR', '.starcite/postgres'),
      poolSize,
      preparedStatements: read.flag('STARCITE_PREPARED_STATEMENTS', true),
      /** The longest that a caller waits for Postgres before it gets 503. */
      timeoutMs: read.duration('STARCITE_STORAGE_TIMEOUT', { default: '5s', min: '100ms', max: '5m' }),
      /** The age at which a connection is replaced: what Postgres caches for it (plans, partitions) grows with its age. */
      lifetimeMs: read.duration('STARCITE_CONNECTION_LIFETIME', { default: '10m', min: '1s', max: '1d' }),
      /** 0: a node is never idle, and goes on sending statements. */
      idleAfterMs: read.duration('STARCITE_IDLE_AFTER', { default: '0s', min: '0s', max: '1d' }),
      idleCheckMs: read.duration('STARCITE_IDLE_CHECK', { default: '6h', min: '1s', max: '30d' }),
      /** How long a starting node waits for its database. */
      startupWaitMs: read.duration('STARCITE_STARTUP_WAIT', { default: '60s', min: '0s', max: '1h' }),
      segmentIntervalMs: read.duration('STARCITE_SEGMENT_INTERVAL', { default: '6h', min: '1s', max: '30d' }),
    },

    append: {
      /** Beside one connection for sessions that a long transaction holds, and at least one for reading. */
      connections: read.int('STARCITE_APPEND_CONNECTIONS', {
        default: Math.min(2, poolSize - 2),
        min: 1,
        max: poolSize - 2,
      }),
      batchEvents: read.int('STARCITE_APPEND_BATCH_EVENTS', { default: 256, min: 1, max: 10_000 }),
      batchBytes: read.size('STARCITE_APPEND_BATCH_BYTES', { default: '4MB', min: '1KB', max: '64MB' }),
      /** Past either bound an append gets 429. */
      queueEvents: read.int('STARCITE_APPEND_QUEUE_EVENTS', { default: 10_000, min: 1, max: 10_000_000 }),
      queueBytes: read.size('STARCITE_APPEND_QUEUE_BYTES', { default: '64MB', min: '1KB', max: '8GB' }),
    },

    limits: {
      eventBytes: read.size('STARCITE_MAX_EVENT_BYTES', { default: '1MB', min: '1KB', max: '64MB' }),
      batchBytes: read.size('STARCITE_MAX_BATCH_BYTES', { default: '8MB', min: '1KB', max: '256MB' }),
      batchEvents: read.int('STARCITE_MAX_BATCH_EVENTS', { default: 1000, min: 1, max: 10_000 }),
      sessionMetadataBytes: read.size('STARCITE_MAX_SESSION_METADATA_BYTES', {
        default: '64KB',
        min: '1KB',
        max: '1MB',
      }),
      /** Of `metadata` and `refs` each. */
      eventMetadataBytes: read.size('STARCITE_MAX_EVENT_METADATA_BYTES', {
        default: '256KB',
        min: '1KB',
        max: '64MB',
      }),
      /** Request bodies and frames that are arriving, over all connections of the node. */
      bodyMemoryBytes: read.size('STARCITE_BODY_MEMORY', { default: '256MB', min: '1MB', max: '64GB' }),
      /** Responses that wait to be written, over all requests of the node. */
      answerMemoryBytes: read.size('STARCITE_ANSWER_MEMORY', { default: '256MB', min: '1MB', max: '64GB' }),
      /** Events that tails have sent and their readers have not taken yet. */
      tailMemoryBytes: read.size('STARCITE_TAIL_MEMORY', { default: '256MB', min: '1MB', max: '64GB' }),
      /** Per tenant; 0 is no limit. */
      requestsPerSecond: read.int('STARCITE_TENANT_REQUESTS_PER_SECOND', {
        default: 0,
        min: 0,
        max: 1_000_000,
      }),
      tailsPerPrincipal: read.int('STARCITE_MAX_TAILS_PER_PRINCIPAL', {
        default: 5000,
        min: 1,
        max: 1_000_000,
      }),
      sockets: read.int('STARCITE_MAX_SOCKETS', { default: 20_000, min: 1, max: 1_000_000 }),
    },

    tail: {
      /** Newest events kept per tailed session, and their bytes: per session, and over all sessions of the node. */
      ringEvents: read.int('STARCITE_RING_EVENTS', { default: 512, min: 1, max: 100_000 }),
      ringBytes: read.size('STARCITE_RING_BYTES', { default: '128MB', min: '64KB', max: '64GB' }),
      ringSessionBytes: read.size('STARCITE_RING_SESSION_BYTES', {
        default: '128MB',
        min: '1KB',
        max: '64GB',
      }),
      /** How often the heads of tailed sessions are read, with or without notifications. */
      pollIntervalMs: read.duration('STARCITE_POLL_INTERVAL', { default: '1s', min: '50ms', max: '5m' }),
      pingIntervalMs: read.duration('STARCITE_PING_INTERVAL', { default: '25s', min: '100ms', max: '10m' }),
      /** A connection whose reader takes nothing for this long is closed with 1013. */
      stallMs: read.duration('STARCITE_STALL_TIMEOUT', { default: '60s', min: '100ms', max: '1h' }),
      /** Below the idle time-outs of common proxies. */
      sseKeepAliveMs: read.duration('STARCITE_SSE_KEEPALIVE', { default: '15s', min: '50ms', max: '10m' }),
    },

    socket: {
      /** Phoenix's clients send a heartbeat every 30 s. */
      silenceMs: read.duration('STARCITE_SOCKET_HEARTBEAT_TIMEOUT', {
        default: '60s',
        min: '100ms',
        max: '1h',
      }),
      maxTopics: read.int('STARCITE_SOCKET_MAX_TOPICS', { default: 1000, min: 1, max: 100_000 }),
      /** At this number of unanswered appends, nothing more is read from the socket until one is answered. */
      maxUnanswered: read.int('STARCITE_SOCKET_MAX_APPENDS', { default: 1024, min: 1, max: 100_000 }),
    },

    tiering: {
      /** A segment is moved once its end is older than this. */
      hotRetentionMs: read.duration('STARCITE_HOT_RETENTION', { default: '24h', min: '0s', max: '3650d' }),
      flushIntervalMs: read.int('STARCITE_ARCHIVE_FLUSH_INTERVAL_MS', {
        default: 30_000,
        min: 50,
        max: 86_400_000,
      }),
      retentionGraceMs: read.duration('STARCITE_RETENTION_GRACE', { default: '24h', min: '0s', max: '90d' }),
      readCacheBytes: read.size('STARCITE_ARCHIVE_READ_CACHE_MAX_SIZE', {
        default: '512MB',
        min: '1MB',
        max: '1024GB',
      }),
    },

    archive: readArchive(read),

    checkpoints: readCheckpoints(read),

    auth,
  }
  if (read.problems.length > 0) throw new ConfigError(read.problems)
  return Object.freeze(config)
}
