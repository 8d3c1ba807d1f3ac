import pg from 'pg'
import { LinkedAbort } from '../lib/linkedAbort.ts'
import type { Log } from '../ops/log.ts'
import { type Cancellable, cancel } from './cancel.ts'
import {
  isReadOnly,
  isStalePlan,
  keepsConnection,
  lacksStatements,
  PROGRAM_LIMIT_EXCEEDED,
  QueryTimeoutError,
  wasNotBegun,
} from './failure.ts'
import type { NotifyQueue } from './notifyQueue.ts'
import { PinnedClient } from './searchPath.ts'

export interface PoolOptions {
  /** Read for each connection. */
  readonly url: string
  readonly size: number
  readonly applicationName: string
  /** The time-out of waiting for a connection, and of each query; a query that takes longer is cancelled. */
  readonly timeoutMs: number
  /** The age after which a connection is not used again; also how long one may stay with a demoted server. */
  readonly lifetimeMs?: number
  readonly preparedStatements: boolean
  readonly log: Log
  /** Called when a statement succeeded after a read-only server refused one: there is a new primary. */
  readonly onPrimaryMoved?: () => void
  /** Told when a commit is refused because the queue is full; asked whether to send notifications at all. */
  readonly notifyQueue?: NotifyQueue
  /** Called for a new connection before anything is asked on it; the text identifies this run of the server. */
  readonly onServer?: (run: string) => void
}

/** Connections, and callers that wait for one. */
export interface PoolSize {
  readonly max: number
  readonly total: number
  readonly idle: number
  readonly waiting: number
  /** Connections in use whose query timed out and has not ended yet. */
  readonly givenUp: number
}

export interface Query {
  /** The name of the prepared statement: one name, one text. Absent for texts that vary. */
  readonly name?: string
  readonly text: string
  /** Whether the statement notifies. */
  readonly notifies?: true
}

type Rows = readonly (readonly (string | null)[])[]

/**
 * A statement may fail once because the server ended idle connections, and once because a migration changed its plan.
 */
const MAX_RUNS = 3
/** The variable that procedures read before they notify (sql/append_events.sql). */
const WITHOUT_NOTIFICATIONS = `select pg_catalog.set_config('starcite.notify', 'off', true)`

/**
 * Connections to Postgres. Rows are arrays of text (`int8` and `json` included): only the caller's decoder knows a
 * column's type, so no number loses digits on the way.
 */
export class Db {
  readonly #pool: pg.Pool
  readonly #options: PoolOptions
  readonly #stopping = new AbortController()
  /** Connections by the generation in which they were opened; those of an earlier generation are not used again. */
  readonly #generations = new WeakMap<pg.PoolClient, number>()
  #generation = 0
  #metReadOnly = false
  #prepares: boolean
  #givenUp = 0
  readonly #identified = new WeakSet<pg.PoolClient>()

  constructor(options: PoolOptions) {
    this.#options = options
    this.#prepares = options.preparedStatements
    this.#pool = new pg.Pool({
      Client: clientOf(options),
      onConnect: (client) => (client as PinnedClient).pin(options.timeoutMs),
      max: options.size,
      application_name: options.applicationName,
      connectionTimeoutMillis: options.timeoutMs,
      idleTimeoutMillis: 60_000,
      ...(options.lifetimeMs && { maxLifetimeSeconds: options.lifetimeMs / 1000 }),
      keepAlive: true,
      types: { getTypeParser: () => asText as never },
    })
    // Without a listener, an idle connection that breaks would end the process. The pool has dropped it already.
    this.#pool.on('error', (error) =>
      options.log[wasNotBegun(error) ? 'debug' : 'warn']({ err: error }, 'idle database connection broke'),
    )
    // The same for one that breaks during a query: the query rejects, and its caller handles that.
    this.#pool.on('connect', (client) => {
      client.on('error', () => {})
      this.#generations.set(client, this.#generation)
    })
  }

  /**
   * Runs one statement. Unlike pool.query, an SQL error does not cost the connection; a broken or timed-out
   * connection is closed. Rejects with a QueryTimeoutError after the time-out, and has the statement cancelled; until
   * it has ended, it counts as a connection in use, so that abandoned work is bounded by the pool.
   */
  async query(query: Query, values: readonly unknown[]): Promise<Rows> {
    const { notifyQueue } = this.#options
    for (let runs = 1; ; runs += 1) {
      try {
        return await this.#run(query, values, query.notifies === true && notifyQueue?.isFull === true)
      } catch (error) {
        if (isQueueFull(error) && notifyQueue) return await this.#runQuietly(query, values, notifyQueue)
        if (!wasNotBegun(error) || runs === MAX_RUNS) throw error
        if (isStalePlan(error)) this.renew()
      }
    }
  }

  /**
   * Repeats a statement without notifications, when they may have been the reason for the refusal. It was rolled
   * back.
   */
  async #runQuietly(query: Query, values: readonly unknown[], notifyQueue: NotifyQueue): Promise<Rows> {
    const rows = await this.#run(query, values, true)
    notifyQueue.foundFull()
    return rows
  }

  async #run(query: Query, values: readonly unknown[], isQuiet: boolean): Promise<Rows> {
    const client = await this.#connect()
    const work = isQuiet
      ? this.#inTransaction(client, () => this.#send(client, query, values))
      : this.#send(client, query, values)
    let broken: Error | undefined
    let isGivenUp = false
    try {
      const rows = await this.#inTime(work)
      if (this.#metReadOnly) {
        this.#metReadOnly = false
        this.#options.onPrimaryMoved?.()
      }
      return rows
    } catch (error) {
      if (isReadOnly(error)) this.#metReadOnly = true
      isGivenUp = error instanceof QueryTimeoutError
      if (lacksStatements(error)) this.#options.log.error({ err: error }, LACKS_STATEMENTS)
      if (!keepsConnection(error)) broken = error as Error
      throw error
    } finally {
      if (isGivenUp) void this.#giveUp(client, work)
      else client.release(broken)
    }
  }

  async #send(client: pg.PoolClient, query: Query, values: readonly unknown[]): Promise<Rows> {
    const { onServer } = this.#options
    if (onServer && !this.#identified.has(client)) await this.#identifyServer(client, onServer)
    const result = await client.query<(string | null)[]>({
      ...(this.#prepares && query.name ? { name: query.name } : {}),
      text: query.text,
      values: [...values],
      rowMode: 'array',
    })
    return result.rows
  }

  async #inTransaction(client: pg.PoolClient, run: () => Promise<Rows>): Promise<Rows> {
    await client.query('begin isolation level read committed')
    try {
      await client.query(WITHOUT_NOTIFICATIONS)
      const rows = await run()
      await client.query('commit')
      return rows
    } catch (error) {
      await client.query('rollback').catch(() => {})
      throw error
    }
  }

  async #inTime(work: Promise<Rows>): Promise<Rows> {
    const { timeoutMs } = this.#options
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new QueryTimeoutError(`Postgres did not answer within ${timeoutMs} ms`)),
        timeoutMs,
      )
    })
    try {
      return await Promise.race([work, late])
    } finally {
      clearTimeout(timer)
    }
  }

  /**
   * Cancels the query. Its place in the pool is free when Postgres says that it has ended, cannot be reached, or has
   * not ended it within the time-out.
   */
  async #giveUp(client: pg.PoolClient, work: Promise<Rows>): Promise<void> {
    this.#givenUp += 1
    const deadline = new LinkedAbort([this.#stopping.signal], { ms: this.#options.timeoutMs })
    let outcome: unknown = new QueryTimeoutError('the query timed out')
    const settled = work.then(
      () => {
        outcome = undefined
      },
      (error: unknown) => {
        outcome = error
      },
    )
    if (await cancel(client as unknown as Cancellable, deadline.signal))
      await Promise.race([settled, deadline.rejection().catch(() => {})])
    deadline.release()
    this.#givenUp -= 1
    client.release(outcome === undefined || keepsConnection(outcome) ? undefined : (outcome as Error))
  }

  /** Uses only connections that are opened from now on. */
  renew(): void {
    this.#generation += 1
  }

  /** Called when a pooler does not keep prepared statements. */
  withoutPreparedStatements(): void {
    this.#prepares = false
  }

  async #connect(): Promise<pg.PoolClient> {
    for (;;) {
      const client = await this.#pool.connect()
      if (this.#generations.get(client) === this.#generation) return client
      client.release(true)
    }
  }

  /** Identifies the server before anything is read there, which may not continue what was read before. */
  async #identifyServer(client: pg.PoolClient, onServer: (run: string) => void): Promise<void> {
    const { rows } = await client.query<[string]>({ text: SERVER_RUN, rowMode: 'array' })
    this.#identified.add(client)
    onServer(rows[0]?.[0] ?? '')
  }

  /** Rejects when Postgres does not answer within the time-out. */
  async ping(): Promise<void> {
    await this.query({ text: 'select 1' }, [])
  }

  get size(): PoolSize {
    return {
      max: this.#options.size,
      givenUp: this.#givenUp,
      total: this.#pool.totalCount,
      idle: this.#pool.idleCount,
      waiting: this.#pool.waitingCount,
    }
  }

  /** Waits for running queries; those that timed out are left to their deadline. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#pool.end()
  }
}

/**
 * The start time of the server identifies its run: another server has another one, and so does the same server after
 * a restore, which requires a restart. Unlike the timeline, any role may read it, and a file system that was rolled
 * back keeps its timeline. It is a number, because the text of a time depends on the settings of the session.
 */
const SERVER_RUN = `select pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time())::text`

/** Connects to the server's address at that moment. */
function clientOf(options: PoolOptions) {
  return class extends PinnedClient {
    constructor(config?: pg.ClientConfig) {
      super({ ...config, connectionString: options.url })
    }
  }
}

const asText = (value: string) => value

const LACKS_STATEMENTS =
  'DATABASE_URL leads through a pooler that does not keep prepared statements: set STARCITE_PREPARED_STATEMENTS=false, or the ' +
  'max_prepared_statements of PgBouncer 1.21 or newer'

const isQueueFull = (error: unknown): boolean =>
  error instanceof pg.DatabaseError && error.code === PROGRAM_LIMIT_EXCEEDED
