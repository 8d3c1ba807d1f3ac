import path from 'node:path'
import pg from 'pg'
import type { Config } from '../config.ts'
import { jittered, pause } from '../lib/backoff.ts'
import type { Log } from '../ops/log.ts'
import { hasDatabase } from './embedded/location.ts'
import { SupervisedPostgres } from './embedded/supervisor.ts'
import { classify } from './failure.ts'
import { migrate, NotMigratedError } from './migrate.ts'
import { NotifyQueue } from './notifyQueue.ts'
import { Db, type PoolSize } from './pool.ts'
import { ForeignSchemaError } from './roles.ts'
import { examineSharing } from './sharing.ts'

/** Postgres cannot be used, and waiting longer will not help. The message says what to check. */
export class DatabaseStartError extends Error {
  override readonly name = 'DatabaseStartError'
}

const RETRY_BASE_MS = 200
const RETRY_MAX_MS = 3000
const STILL_MS = 5000

/** The job writes two objects at a time. */
const MOVE_CONNECTIONS = 2

/** Read for each connection, because the embedded Postgres may return on another port. */
export interface DatabaseUrls {
  readonly url: string
  readonly directUrl: string
  /** URLs with other roles than `url`, where nodes have only the rights that they need. */
  readonly migrateUrl?: string | undefined
  readonly tieringUrl?: string | undefined
}

/**
 * The Postgres of a node. Appends have connections of their own, so that neither they nor the other statements
 * starve.
 */
export class Database {
  readonly appends: Db
  readonly reads: Db
  /** Writes objects of cold storage that are kept in a table; same role as `appends`. */
  readonly moves: Db
  readonly notifyQueue: NotifyQueue
  readonly #urls: DatabaseUrls
  readonly #embedded: SupervisedPostgres | undefined
  readonly #config: Config['database']
  readonly #log: Log
  readonly #stopping = new AbortController()
  readonly #whenMoved = new Set<() => void>()
  readonly #whenServerChanged = new Set<() => void>()
  /** The run of the server that the newest connection leads to. */
  #server: string | undefined

  constructor(
    config: Config['database'],
    urls: DatabaseUrls,
    appendConnections: number,
    embedded: SupervisedPostgres | undefined,
    log: Log,
  ) {
    this.notifyQueue = new NotifyQueue(() => notificationQueueUsage(this.reads), log)
    const pool = (size: number, applicationName: string, url = () => urls.url, onPrimaryMoved = () => {}) =>
      new Db({
        ...config,
        get url() {
          return url()
        },
        size,
        applicationName,
        log,
        onPrimaryMoved,
        notifyQueue: this.notifyQueue,
        onServer: (run) => this.#noteServer(run),
      })
    this.appends = pool(appendConnections, 'starcite append', undefined, () => this.#leaveOldPrimary())
    this.reads = pool(config.poolSize - appendConnections, 'starcite')
    this.moves =
      urls.tieringUrl === undefined
        ? this.reads
        : pool(MOVE_CONNECTIONS, 'starcite tiering', () => this.tieringUrl)
    this.#urls = urls
    this.#embedded = embedded
    this.#config = config
    this.#log = log
  }

  get directUrl(): string {
    return this.#urls.directUrl
  }

  /** The URL for moving segments: of a role that owns them. */
  get tieringUrl(): string {
    return this.#urls.tieringUrl ?? this.directUrl
  }

  get embeddedDir(): string | undefined {
    return this.#embedded?.dir
  }

  /** Why the embedded Postgres does not run; undefined when it runs. */
  get fault(): string | undefined {
    return this.#embedded?.fault
  }

  /** Sends a query over a connection of the pool. */
  notify(channel: string, payload: string): Promise<unknown> {
    return this.reads.query(NOTIFY, [channel, payload])
  }

  get pools(): { readonly append: PoolSize; readonly read: PoolSize } {
    return { append: this.appends.size, read: this.reads.size }
  }

  /** Called for connections of other parts: the server that they lead to may no longer be the primary. */
  onPrimaryMoved(act: () => void): void {
    this.#whenMoved.add(act)
  }

  /**
   * Records the server that a new connection leads to, before anything is read there. When it is another server than
   * before, or the same after a restart, what was read before may no longer exist.
   */
  onServerChanged(act: () => void): void {
    this.#whenServerChanged.add(act)
  }

  #noteServer(server: string): void {
    const isAnother = this.#server !== undefined && this.#server !== server
    this.#server = server
    if (isAnother) for (const act of this.#whenServerChanged) act()
  }

  /** A standby's data and notifications would stand still. */
  #leaveOldPrimary(): void {
    this.#log.warn('failover detected: reconnecting to the new primary')
    this.appends.renew()
    this.reads.renew()
    this.moves.renew()
    for (const act of this.#whenMoved) act()
  }

  /**
   * Waits for Postgres, and brings the schema to this release. Throws a DatabaseStartError (no server in time, wrong
   * password, no such database, not migrated and no right to migrate), SchemaTooNewError or ServerTooOldError.
   */
  async prepare(release: string): Promise<void> {
    const deadline = Date.now() + this.#config.startupWaitMs
    for (let attempt = 0; ; attempt += 1) {
      try {
        await this.#sayWhatFor(
          'migrating the schema',
          migrate(this.#urls.migrateUrl ?? this.directUrl, release, this.#log),
        )
        if (this.#embedded === undefined)
          await this.#sayWhatFor('examining the database URLs', this.#examine())
        return
      } catch (error) {
        if (error instanceof DatabaseStartError) throw error
        const final = fatalReason(error)
        if (final !== undefined) throw new DatabaseStartError(final, { cause: error })
        if (!(error instanceof pg.DatabaseError) && classify(error) === 'unknown' && !isNetwork(error))
          throw error
        if (error instanceof pg.DatabaseError && classify(error) === 'refused') throw error
        if (Date.now() >= deadline || this.#stopping.signal.aborted)
          throw new DatabaseStartError(
            `Postgres did not answer within ${this.#config.startupWaitMs / 1000} s: ${(error as Error).message || String(error)}`,
            { cause: error },
          )
        this.#log.warn({ reason: (error as Error).message, attempt }, 'waiting for Postgres')
        await pause(jittered(attempt, RETRY_BASE_MS, RETRY_MAX_MS), this.#stopping.signal)
      }
    }
  }

  /**
   * Detects poolers. Rejects with a DatabaseStartError when LISTEN and the jobs cannot work through a URL; disables
   * prepared statements when the pool's URL does not keep them.
   */
  async #examine(): Promise<void> {
    const { url, directUrl, tieringUrl } = this.#urls
    const pooled = await examineSharing(url, this.#log)
    const direct = directUrl === url ? pooled : await examineSharing(directUrl, this.#log)
    if (direct.sharesSessions)
      throw new DatabaseStartError(
        `${directUrl === url ? 'DATABASE_URL' : 'STARCITE_LISTEN_URL'} leads through a pooler in transaction mode, where LISTEN ` +
          'delivers nothing: set STARCITE_LISTEN_URL to a direct connection to the same database, past the pooler',
      )
    if (tieringUrl !== undefined && (await examineSharing(tieringUrl, this.#log)).sharesSessions)
      throw new DatabaseStartError(
        'STARCITE_TIERING_URL leads through a pooler in transaction mode, where a job cannot keep its lock: set it to a direct ' +
          'connection, past the pooler',
      )
    if (pooled.keepsStatements || !this.#config.preparedStatements) return
    this.#log.warn(
      'DATABASE_URL leads through a pooler that does not keep prepared statements: going on without them. Set ' +
        'STARCITE_PREPARED_STATEMENTS=false, or the max_prepared_statements of PgBouncer 1.21 or newer',
    )
    for (const it of [this.appends, this.reads]) it.withoutPreparedStatements()
  }

  /** Logs what the start is waiting for when it takes long. */
  async #sayWhatFor<T>(what: string, work: Promise<T>): Promise<T> {
    const from = Date.now()
    const timer = setInterval(
      () => this.#log.warn({ seconds: Math.round((Date.now() - from) / 1000) }, `still ${what}`),
      STILL_MS,
    )
    try {
      return await work
    } finally {
      clearInterval(timer)
    }
  }

  /**
   * From now on, an embedded Postgres that ends is not restarted: it may have been stopped together with this
   * process.
   */
  draining(): void {
    this.#embedded?.leave()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.draining()
    await this.notifyQueue.stop()
    await Promise.all([...new Set([this.appends, this.reads, this.moves])].map((it) => it.stop()))
    await this.#embedded?.stop()
  }
}

/**
 * Opens the database of the configuration, or, without one, starts the embedded Postgres and keeps it running.
 * Rejects with a DatabaseStartError when there is no embedded database yet and `mayCreate` is false.
 */
export async function openDatabase(
  config: Config['database'],
  appendConnections: number,
  log: Log,
  { mayCreate = true }: { readonly mayCreate?: boolean } = {},
): Promise<Database> {
  const { url, directUrl = url, migrateUrl, tieringUrl } = config
  if (url !== undefined && directUrl !== undefined)
    return new Database(config, { url, directUrl, migrateUrl, tieringUrl }, appendConnections, undefined, log)
  const dir = path.resolve(config.embeddedDir)
  if (!mayCreate && !(await hasDatabase(dir)))
    throw new DatabaseStartError(
      `DATABASE_URL is not set, and there is no embedded database in ${dir}: set DATABASE_URL, or run this in the folder ` +
        'where `npm start` or `starcite serve` has made one (STARCITE_DATA_DIR says where its data is)',
    )
  const embedded = await SupervisedPostgres.start(dir, log)
  return new Database(config, embedded, appendConnections, embedded, log)
}

const NOTIFY = { name: 'notify', text: 'select pg_notify($1, $2)' }

const NOTIFICATION_QUEUE = { name: 'notification_queue', text: 'select pg_notification_queue_usage()' }

/**
 * The used share of the queue. Postgres first drops the notifications that every listener has read; otherwise only a
 * full page of new ones makes it do so.
 */
async function notificationQueueUsage(db: Db): Promise<number> {
  const [row] = await db.query(NOTIFICATION_QUEUE, [])
  return Number(row?.[0])
}

/** Describes errors for an operator that waiting does not resolve. */
function fatalReason(error: unknown): string | undefined {
  if (error instanceof NotMigratedError || error instanceof ForeignSchemaError) return error.message
  if (!(error instanceof pg.DatabaseError)) return undefined
  if (error.code === '28P01' || error.code === '28000')
    return `Postgres refuses the user or password of the database URL: ${error.message}`
  if (error.code === '3D000') return `the database of the database URL does not exist: ${error.message}`
  if (error.code === '42501')
    return `the database user may not create the schema, or not read it: ${error.message}`
  return undefined
}

function isNetwork(error: unknown): boolean {
  return (
    error instanceof Error &&
    ('syscall' in error || /^Connection terminated|^timeout expired/.test(error.message))
  )
}
