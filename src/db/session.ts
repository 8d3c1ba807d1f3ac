import { Socket } from 'node:net'
import pg from 'pg'
import type { Log } from '../ops/log.ts'
import { pinSession } from './searchPath.ts'

/** Below the usual limits of networks on idle connections; the kernel gives up an absent peer some minutes later. */
const KEEP_ALIVE_MS = 10_000
/** How long Postgres has to answer the goodbye before the connection is closed. */
const END_TIMEOUT_MS = 1000

/**
 * One connection, for what needs a session of its own: advisory locks, cursors, statements that may not run in a
 * transaction. Rows are arrays of text, as from Db.
 */
export class DbSession {
  readonly #client: pg.Client
  readonly #socket: Socket
  #last: Promise<unknown> = Promise.resolve()

  private constructor(client: pg.Client, socket: Socket) {
    this.#client = client
    this.#socket = socket
  }

  /** `url` must be a direct connection. Rejects when connecting takes longer than `connectTimeoutMs`. */
  static async open(
    url: string,
    applicationName: string,
    connectTimeoutMs: number,
    log: Log,
  ): Promise<DbSession> {
    const socket = new Socket()
    const client = new pg.Client({
      connectionString: url,
      application_name: applicationName,
      connectionTimeoutMillis: connectTimeoutMs,
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
      stream: () => socket,
      types: { getTypeParser: () => ((value: string) => value) as never },
    })
    client.on('error', (error) => log.warn({ err: error }, `the connection of ${applicationName} broke`))
    try {
      await client.connect()
      await pinSession(client, connectTimeoutMs)
    } catch (cause) {
      socket.destroy()
      throw cause
    }
    return new DbSession(client, socket)
  }

  /** Runs one statement; statements of several callers run one after the other. */
  query(text: string, values: readonly unknown[] = []): Promise<readonly (readonly (string | null)[])[]> {
    const result = this.#last.then(async () => {
      const { rows } = await this.#client.query<(string | null)[]>({
        text,
        values: [...values],
        rowMode: 'array',
      })
      return rows
    })
    this.#last = result.catch(() => {})
    return result
  }

  /**
   * Commits all of what `run` did, or rolls it back. No other caller may use the session meanwhile. `oneSnapshot`:
   * all its statements see what the first one saw.
   */
  async transaction<T>(run: () => Promise<T>, { oneSnapshot = false } = {}): Promise<T> {
    await this.query(`begin isolation level ${oneSnapshot ? 'repeatable read' : 'read committed'}`)
    try {
      const result = await run()
      await this.query('commit')
      return result
    } catch (error) {
      await this.query('rollback').catch(() => {})
      throw error
    }
  }

  /** Closes the session. A running statement fails here; Postgres may still complete it. */
  async stop(): Promise<void> {
    const timer = setTimeout(() => this.#socket.destroy(), END_TIMEOUT_MS)
    await this.#client.end().catch(() => {})
    clearTimeout(timer)
  }
}
