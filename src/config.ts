import { createPrivateKey } from 'node:crypto'
import { closest } from './lib/closest.ts'
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
  return configOf(new EnvReader(env))
}

/** Settings by other names than the program reads, which would have no effect in silence; each with the name it may stand for. */
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

/** Of the command line. */
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
    /** What a token must allow to erase sessions, redact events and see receipts. */
    eraseScope: read.oneOf('STARCITE_ERASE_SCOPE', ['session:create', 'session:erase'], 'session:create'),
    logLevel: read.oneOf(
      'STARCITE_LOG_LEVEL',
      ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
      'info',
    ),
    shutdownGraceMs: read.duration('STARCITE_SHUTDOWN_GRACE', { default: '20s', min: '0s', max: '10m' }),
    /** Not ready, yet serving: so long a load balancer may take to notice. */
    drainDelayMs: read.duration('STARCITE_DRAIN_DELAY', { default: '0s', min: '0s', max: '5m' }),
    drainSpreadMs: read.duration('STARCITE_DRAIN_SPREAD', { default: '3s', min: '0s', max: '5m' }),
    accessLog: read.flag('STARCITE_ACCESS_LOG', false),
    /** Of which source this is a build; images set it. */
    commit: read.text('STARCITE_COMMIT', undefined),
    /** Tails go on by polling without notifications, so a node is given this long before it counts as not ready. */
    listenerGraceMs: read.duration('STARCITE_LISTENER_GRACE', { default: '2m', min: '0s', max: '1h' }),

    http: {
      headersMs: read.duration('STARCITE_HEADERS_TIMEOUT', { default: '20s', min: '100ms', max: '10m' }),
      /** From its first byte to its last, the body included. */
      requestMs: read.duration('STARCITE_REQUEST_TIMEOUT', { default: '60s', min: '100ms', max: '1h' }),
      /** Past the idle time-outs of common load balancers (60 s): they close first, never into a request. */
      keepAliveMs: read.duration('STARCITE_KEEP_ALIVE_TIMEOUT', { default: '75s', min: '1s', max: '1h' }),
      connections: read.int('STARCITE_MAX_CONNECTIONS', { default: 25_000, min: 1, max: 1_000_000 }),
    },

    database: {
      /** Absent: the service starts its own embedded Postgres. */
      url: databaseUrl,
      /** LISTEN, migrations and leader locks need a direct connection when `url` goes through a pooler. */
      directUrl: read.postgresUrl('STARCITE_LISTEN_URL') ?? databaseUrl,
      /** Roles with more rights than nodes need, each for its duty; absent: those of `directUrl`. */
      migrateUrl: read.postgresUrl('STARCITE_MIGRATE_URL'),
      tieringUrl: read.postgresUrl('STARCITE_TIERING_URL'),
      embeddedDir: read.text('STARCITE_DATA_DIR', '.starcite/postgres'),
      poolSize,
      preparedStatements: read.flag('STARCITE_PREPARED_STATEMENTS', true),
      /** The longest that a caller waits for Postgres before it is told 503. */
      timeoutMs: read.duration('STARCITE_STORAGE_TIMEOUT', { default: '5s', min: '100ms', max: '5m' }),
      /** A connection is made anew after this long; what Postgres keeps for each (plans, partitions) grows with its age. */
      lifetimeMs: read.duration('STARCITE_CONNECTION_LIFETIME', { default: '10m', min: '1s', max: '1d' }),
      /** 0: a node never is idle, and always has statements to send. */
      idleAfterMs: read.duration('STARCITE_IDLE_AFTER', { default: '0s', min: '0s', max: '1d' }),
      idleCheckMs: read.duration('STARCITE_IDLE_CHECK', { default: '6h', min: '1s', max: '30d' }),
      /** How long a starting node waits for a database that is not there yet. */
      startupWaitMs: read.duration('STARCITE_STARTUP_WAIT', { default: '60s', min: '0s', max: '1h' }),
      segmentIntervalMs: read.duration('STARCITE_SEGMENT_INTERVAL', { default: '6h', min: '1s', max: '30d' }),
    },

    append: {
      /** Beside one for sessions that somebody holds, and at least one for reading. */
      connections: read.int('STARCITE_APPEND_CONNECTIONS', {
        default: Math.min(2, poolSize - 2),
        min: 1,
        max: poolSize - 2,
      }),
      batchEvents: read.int('STARCITE_APPEND_BATCH_EVENTS', { default: 256, min: 1, max: 10_000 }),
      batchBytes: read.size('STARCITE_APPEND_BATCH_BYTES', { default: '4MB', min: '1KB', max: '64MB' }),
      /** Past either bound an append is answered 429. */
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
      /** Bodies and frames that are arriving, over all connections of the node. */
      bodyMemoryBytes: read.size('STARCITE_BODY_MEMORY', { default: '256MB', min: '1MB', max: '64GB' }),
      /** Answers that wait to be written, over all requests of the node. */
      answerMemoryBytes: read.size('STARCITE_ANSWER_MEMORY', { default: '256MB', min: '1MB', max: '64GB' }),
      /** What tails were sent and their readers have not taken. */
      tailMemoryBytes: read.size('STARCITE_TAIL_MEMORY', { default: '256MB', min: '1MB', max: '64GB' }),
      /** Per tenant; 0 is without end. */
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
      /** How often the heads of tailed sessions are read, whatever notifications say. */
      pollIntervalMs: read.duration('STARCITE_POLL_INTERVAL', { default: '1s', min: '50ms', max: '5m' }),
      pingIntervalMs: read.duration('STARCITE_PING_INTERVAL', { default: '25s', min: '100ms', max: '10m' }),
      /** A peer that takes nothing at all for this long is closed with 1013. */
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
      /** Past it nothing more is read from that socket until one is answered. */
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

const AUTH_PRESETS = ['none', 'auth0', 'clerk', 'cognito', 'entra', 'okta', 'supabase'] as const
const SCOPE_NAMES = ['session:create', 'session:read', 'session:append', 'session:erase'] as const
/** What an issuer can give beside them; no default can. */
const MAPPED_SCOPES = [...SCOPE_NAMES, 'session:act_as'] as const

/** Where a node listens, and whom it answers there: without tokens, this machine alone until somebody says otherwise. */
function readReach(read: EnvReader, hasTokens: boolean) {
  const origins = read.origins('STARCITE_CORS_ORIGIN')
  const hosts = read.hosts('STARCITE_ALLOWED_HOSTS')
  return {
    host: read.text('STARCITE_HOST', hasTokens ? undefined : '127.0.0.1'),
    /** For people on this machine. */
    shownHost: read.text('STARCITE_HOST', 'localhost'),
    /** Pages that may call, and the names under which: a token protects where there is one. */
    admitted: {
      origins: origins ?? (hasTokens ? ('*' as const) : ('loopback' as const)),
      hosts: hosts ?? (hasTokens ? ('*' as const) : []),
    },
  }
}

/** Who is let in. `jwt` is there when tokens are asked for. */
function readAuth(read: EnvReader) {
  const mode = read.oneOf('STARCITE_AUTH_MODE', ['none', 'jwt'], 'none')
  const jwksUrl = read.httpUrl('STARCITE_AUTH_JWKS_URL')
  const isHttpAllowed = read.flag('STARCITE_AUTH_JWKS_ALLOW_HTTP', false)
  const jwt = {
    jwksUrl: jwksUrl ?? '',
    issuer: read.text('STARCITE_AUTH_JWT_ISSUER', ''),
    audiences: read.list('STARCITE_AUTH_JWT_AUDIENCE') ?? [],
    preset: read.oneOf('STARCITE_AUTH_PRESET', AUTH_PRESETS, 'none'),
    /** What the preset says otherwise, or not. */
    claims: {
      tenant: read.text('STARCITE_AUTH_TENANT_CLAIM', undefined),
      actor: read.text('STARCITE_AUTH_ACTOR_CLAIM', undefined),
      session: read.text('STARCITE_AUTH_SESSION_CLAIM', undefined),
      scopes: read.list('STARCITE_AUTH_SCOPE_CLAIMS'),
      audience: read.text('STARCITE_AUTH_AUDIENCE_CLAIM', undefined),
      service: read.pairs('STARCITE_AUTH_SERVICE_CLAIM')?.[0],
    },
    scopeMap: readScopeMap(read),
    leewaySeconds: read.int('STARCITE_AUTH_JWT_LEEWAY_SECONDS', { default: 30, min: 0, max: 300 }),
    refreshMs: read.int('STARCITE_AUTH_JWKS_REFRESH_MS', { default: 60_000, min: 100, max: 86_400_000 }),
    /** Keys that could not be fetched again for this long are not believed any more. */
    maxAgeMs: read.duration('STARCITE_AUTH_JWKS_MAX_AGE', { default: '24h', min: '1s', max: '365d' }),
    cachedTokens: read.int('STARCITE_AUTH_TOKEN_CACHE', { default: 20_000, min: 1, max: 10_000_000 }),
    defaultTenant: read.text('STARCITE_AUTH_DEFAULT_TENANT', undefined),
    defaultScopes: read.namesOf('STARCITE_AUTH_DEFAULT_SCOPES', SCOPE_NAMES),
  }
  const own = ['STARCITE_AUTH_JWKS_URL', 'STARCITE_AUTH_JWT_ISSUER', 'STARCITE_AUTH_JWT_AUDIENCE']
  const isSet = (name: string) => read.raw(name) !== undefined
  if (mode === 'none') {
    // Who has said where the keys are, and not how, would be astonished to find the door open.
    if (!isSet('STARCITE_AUTH_MODE'))
      for (const name of own.filter(isSet))
        read.problems.push(`STARCITE_AUTH_MODE must be set, to jwt or to none, when ${name} is`)
    return { mode, jwt: undefined }
  }
  for (const name of own.filter((it) => !isSet(it)))
    read.problems.push(`${name} must be set when STARCITE_AUTH_MODE is jwt`)
  if (jwksUrl !== undefined && !isHttpAllowed && !isPrivate(new URL(jwksUrl)))
    read.problems.push(
      'STARCITE_AUTH_JWKS_URL must be an https:// URL: whoever can change what http:// brings can sign tokens; ' +
        'STARCITE_AUTH_JWKS_ALLOW_HTTP=true allows it on a network that you trust',
    )
  if (jwt.maxAgeMs < jwt.refreshMs)
    read.problems.push('STARCITE_AUTH_JWKS_MAX_AGE must be at least STARCITE_AUTH_JWKS_REFRESH_MS')
  return { mode, jwt }
}

/** The issuer's names for what a token may do, each with ours. */
function readScopeMap(read: EnvReader): ReadonlyMap<string, ReadonlySet<(typeof MAPPED_SCOPES)[number]>> {
  const map = new Map<string, Set<(typeof MAPPED_SCOPES)[number]>>()
  for (const [theirs, ours] of read.pairs('STARCITE_AUTH_SCOPE_MAP') ?? []) {
    const scope = MAPPED_SCOPES.find((it) => it === ours)
    if (scope === undefined)
      read.problems.push(
        `STARCITE_AUTH_SCOPE_MAP must map names to some of ${MAPPED_SCOPES.join(', ')}; ${JSON.stringify(theirs)} is mapped to ${JSON.stringify(ours)}`,
      )
    else map.set(theirs, (map.get(theirs) ?? new Set()).add(scope))
  }
  return map
}

/** Nobody is in between: it is encrypted, or it does not leave this machine. */
function isPrivate({ protocol, hostname }: URL): boolean {
  return protocol === 'https:' || /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname)
}

/** Checkpoints are taken where there is a key. */
function readCheckpoints(read: EnvReader) {
  const intervalMs = read.duration('STARCITE_CHECKPOINT_INTERVAL', { default: '5m', min: '1s', max: '7d' })
  const key = read.raw('STARCITE_CHECKPOINT_KEY')
  const keyFile = read.text('STARCITE_CHECKPOINT_KEY_FILE', undefined)
  // Some places where variables are set take one line only.
  const privateKey = key?.value.replaceAll('\\n', '\n')
  if (privateKey !== undefined && keyFile !== undefined)
    read.problems.push('only one of STARCITE_CHECKPOINT_KEY and STARCITE_CHECKPOINT_KEY_FILE can be set')
  if (privateKey !== undefined && !isEd25519(privateKey))
    read.problems.push(
      'STARCITE_CHECKPOINT_KEY must be an Ed25519 private key, PKCS#8 as PEM, such as `openssl genpkey -algorithm ed25519` makes',
    )
  return { intervalMs, privateKey, keyFile }
}

function isEd25519(pem: string): boolean {
  try {
    return createPrivateKey(pem).asymmetricKeyType === 'ed25519'
  } catch {
    return false
  }
}

/** Where cold storage keeps its objects. `s3` is there when that is in a bucket. */
function readArchive(read: EnvReader) {
  const bucket = read.text('STARCITE_S3_BUCKET', undefined)
  const adapter = read.oneOf('STARCITE_ARCHIVE_ADAPTER', ['s3', 'postgres'], bucket ? 's3' : 'postgres')
  const credentials = readCredentials(read, adapter === 's3')
  const s3 = {
    region: read.raw('STARCITE_S3_REGION', 'AWS_REGION', 'AWS_DEFAULT_REGION')?.value ?? 'us-east-1',
    endpoint: read.httpUrl('STARCITE_S3_ENDPOINT', 'AWS_ENDPOINT_URL_S3', 'AWS_ENDPOINT_URL'),
    credentials,
    prefix: read.text('STARCITE_S3_PREFIX', 'starcite'),
    pathStyle: read.flag('STARCITE_S3_PATH_STYLE', true),
  }
  if (adapter === 'postgres') return { adapter, s3: undefined }
  if (bucket === undefined)
    read.problems.push('STARCITE_S3_BUCKET must be set when STARCITE_ARCHIVE_ADAPTER is s3')
  return { adapter, s3: { bucket: bucket ?? '', ...s3 } }
}

/** The names of one family belong together: an id of one with the secret of the other would open nothing. */
const OWN_CREDENTIALS = {
  id: 'STARCITE_S3_ACCESS_KEY_ID',
  secret: 'STARCITE_S3_SECRET_ACCESS_KEY',
  token: 'STARCITE_S3_SESSION_TOKEN',
}
const AWS_CREDENTIALS = {
  id: 'AWS_ACCESS_KEY_ID',
  secret: 'AWS_SECRET_ACCESS_KEY',
  token: 'AWS_SESSION_TOKEN',
}

/** Undefined: the SDK looks for credentials itself. What AWS_* says matters to us only when there is a bucket. */
function readCredentials(read: EnvReader, isUsed: boolean) {
  const readPair = (names: typeof OWN_CREDENTIALS, isJudged: boolean) => {
    const [id, secret, token] = [read.raw(names.id), read.raw(names.secret), read.raw(names.token)]
    if (id && secret)
      return {
        accessKeyId: id.value,
        secretAccessKey: secret.value,
        ...(token && { sessionToken: token.value }),
      }
    const half = id ?? secret ?? token
    if (half && isJudged)
      for (const [name, found] of [[names.id, id] as const, [names.secret, secret] as const])
        if (!found) read.problems.push(`${name} must be set when ${half.name} is`)
    return undefined
  }
  const own = readPair(OWN_CREDENTIALS, true)
  const hasOwn = Object.values(OWN_CREDENTIALS).some((name) => read.raw(name))
  const shared = readPair(AWS_CREDENTIALS, isUsed && !hasOwn)
  return own ?? (hasOwn ? undefined : shared)
}
