import pg from 'pg'
import type { Log } from '../ops/log.ts'

export interface PoolOptions {
  /** Read for each connection. */
  readonly url: string
  readonly size: number
  readonly applicationName: string
  /** Bound on waiting for a connection, and on each query. */
  readonly timeoutMs: number
  /** A connection older than this is not used again: also how long one may stay with a server that was demoted. */
  readonly lifetimeMs?: number
  readonly preparedStatements: boolean
  readonly log: Log
  /** A statement went through after one was refused by a server that only reads: the primary is another one now. */
  readonly onPrimaryMoved?: () => void
}

/** Connections, and callers that wait for one. */
export interface PoolSize {
  readonly max: number
  readonly total: number
  readonly idle: number
  readonly waiting: number
}

export interface Query {
  /** Names the prepared statement: one name, one text. Absent for texts that vary. */
  readonly name?: string
  readonly text: string
}

/**
 * Connections to Postgres. Rows come as arrays of text (`int8` and `json` included): the caller's decoder is the one
 * place that knows a column's type, so no number loses digits on the way.
 */
export class Db {
  readonly #pool: pg.Pool
  readonly #prepared: boolean
  readonly #max: number
  readonly #onPrimaryMoved: (() => void) | undefined
  /** Connections by the generation that they were opened in; those of an earlier one are not used again. */
  readonly #generations = new WeakMap<pg.PoolClient, number>()
  #generation = 0
  #metReadOnly = false

  constructor(options: PoolOptions) {
    this.#prepared = options.preparedStatements
    this.#max = options.size
    this.#onPrimaryMoved = options.onPrimaryMoved
    this.#pool = new pg.Pool({
      Client: clientOf(options),
      max: options.size,
      application_name: options.applicationName,
      connectionTimeoutMillis: options.timeoutMs,
      query_timeout: options.timeoutMs,
      idleTimeoutMillis: 60_000,
      ...(options.lifetimeMs && { maxLifetimeSeconds: options.lifetimeMs / 1000 }),
      keepAlive: true,
      types: { getTypeParser: () => asText as never },
    })
    // Without a listener an idle connection that breaks would end the process. The pool has dropped it already.
    this.#pool.on('error', (error) => options.log.warn({ err: error }, 'an idle database connection broke'))
    // The same for one that breaks under a query: the query rejects, and that is told to whoever asked.
    this.#pool.on('connect', (client) => {
      client.on('error', () => {})
      this.#generations.set(client, this.#generation)
    })
  }

  /**
   * One statement. Unlike pool.query, an SQL error does not cost the connection; a broken or timed-out connection is
   * thrown away.
   */
  async query(query: Query, values: readonly unknown[]): Promise<readonly (readonly (string | null)[])[]> {
    const client = await this.#connect()
    let broken: Error | undefined
    try {
      const result = await client.query<(string | null)[]>({
        ...(this.#prepared && query.name ? { name: query.name } : {}),
        text: query.text,
        values: [...values],
        rowMode: 'array',
      })
      if (this.#metReadOnly) {
        this.#metReadOnly = false
        this.#onPrimaryMoved?.()
      }
      return result.rows
    } catch (error) {
      if (isReadOnly(error)) this.#metReadOnly = true
      if (!keepsConnection(error)) broken = error as Error
      throw error
    } finally {
      client.release(broken)
    }
  }

  /** From now on uses connections that are opened from now on. */
  renew(): void {
    this.#generation += 1
  }

  async #connect(): Promise<pg.PoolClient> {
    for (;;) {
      const client = await this.#pool.connect()
      if (this.#generations.get(client) === this.#generation) return client
      client.release(true)
    }
  }

  /** Rejects when Postgres does not answer within the time-out. */
  async ping(): Promise<void> {
    await this.query({ text: 'select 1' }, [])
  }

  get size(): PoolSize {
    return {
      max: this.#max,
      total: this.#pool.totalCount,
      idle: this.#pool.idleCount,
      waiting: this.#pool.waitingCount,
    }
  }

  /** Waits for the queries under way. */
  async stop(): Promise<void> {
    await this.#pool.end()
  }
}

/** Connects to where the server is at that moment. */
function clientOf(options: PoolOptions) {
  return class extends pg.Client {
    constructor(config?: pg.ClientConfig) {
      super({ ...config, connectionString: options.url })
    }
  }
}

/** After a failover the old connection may lead to a server that only reads: look for the primary again. */
const READ_ONLY = '25006'

const isReadOnly = (error: unknown): boolean => error instanceof pg.DatabaseError && error.code === READ_ONLY

function keepsConnection(error: unknown): boolean {
  return error instanceof pg.DatabaseError && !isFatal(error) && !isReadOnly(error)
}

/** Whether the error ended the session. By code, for Postgres translates the word FATAL. */
function isFatal({ severity, code = '' }: pg.DatabaseError): boolean {
  return severity === 'FATAL' || severity === 'PANIC' || code.startsWith('08') || SHUTDOWN.test(code)
}
const SHUTDOWN = /^57P0[1-5]$/

const asText = (value: string) => value

/** What can be concluded from a failed statement. */
export type Failure =
  /** Nothing was sent, or Postgres undid it: trying again is safe. */
  | 'retry'
  /** Somebody holds a row's lock for longer than we wait; nothing was stored. */
  | 'locked'
  /** The connection broke with the statement under way: it may have been committed. */
  | 'unknown'
  /** Postgres cannot do this now, whatever the statement (full, read-only, shutting down), and undid it. */
  | 'unavailable'
  /** Postgres refused this very statement, and undid it. */
  | 'refused'

const RETRYABLE = new Set([
  '40001', // serialization_failure
  '40P01', // deadlock_detected
])
/** The append took its time before its segment was closed; the next try takes a later one. */
const SEGMENT_IS_CLOSED = 'segment_is_closed'
const LOCK_NOT_AVAILABLE = '55P03' // lock_timeout
// Connection errors that come before anything is sent; pg says these in words only.
const NOT_SENT = /timeout exceeded when trying to connect|Connection terminated due to connection timeout/
const NOT_CONNECTED = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EMFILE', // no file descriptor left for the connection
  'ENFILE',
])

export function classify(error: unknown): Failure {
  if (error instanceof pg.DatabaseError) {
    const code = error.code ?? ''
    if (RETRYABLE.has(code)) return 'retry'
    if (code === LOCK_NOT_AVAILABLE) return 'locked'
    if (error.constraint === SEGMENT_IS_CLOSED) return 'retry'
    // cannot_connect_now, too_many_connections, and authentication: the connection was refused, nothing was sent.
    if (code === '57P03' || code === '53300' || code.startsWith('28') || code === '3D000')
      return 'unavailable'
    // FATAL ends the session at any moment, the commit's included.
    if (isFatal(error)) return 'unknown'
    // insufficient resources, read-only server, statement cancelled, system errors
    if (code.startsWith('53') || code === READ_ONLY || code.startsWith('57') || code.startsWith('58'))
      return 'unavailable'
    return 'refused'
  }
  const { code, message } = error as NodeJS.ErrnoException
  if (NOT_CONNECTED.has(code ?? '') || NOT_SENT.test(message ?? '')) return 'unavailable'
  return 'unknown'
}

/** Whether the error came from Postgres being away or unable, rather than from us. */
export function isUnavailable(error: unknown): boolean {
  const isFromDatabase =
    error instanceof pg.DatabaseError ||
    (error instanceof Error &&
      /^(Connection terminated|Query read timeout|timeout exceeded|Client has encountered)/.test(
        error.message,
      )) ||
    (error instanceof Error && 'syscall' in error && 'errno' in error)
  return isFromDatabase && classify(error) !== 'refused'
}
