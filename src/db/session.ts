import pg from 'pg'
import type { Log } from '../ops/log.ts'

/**
 * One connection, for what needs a session of its own: advisory locks, cursors, statements that may not run in a
 * transaction. Rows come as arrays of text, as from Db.
 */
export class DbSession {
  readonly #client: pg.Client

  private constructor(client: pg.Client) {
    this.#client = client
  }

  /** `url` must be a direct connection. Rejects when it cannot be had within `connectTimeoutMs`. */
  static async open(
    url: string,
    applicationName: string,
    connectTimeoutMs: number,
    log: Log,
  ): Promise<DbSession> {
    const client = new pg.Client({
      connectionString: url,
      application_name: applicationName,
      connectionTimeoutMillis: connectTimeoutMs,
      keepAlive: true,
      types: { getTypeParser: () => ((value: string) => value) as never },
    })
    client.on('error', (error) => log.warn({ err: error }, `the connection of ${applicationName} broke`))
    await client.connect()
    return new DbSession(client)
  }

  async query(
    text: string,
    values: readonly unknown[] = [],
  ): Promise<readonly (readonly (string | null)[])[]> {
    const result = await this.#client.query<(string | null)[]>({
      text,
      values: [...values],
      rowMode: 'array',
    })
    return result.rows ?? []
  }

  /** Commits what `run` did, or nothing of it. */
  async transaction<T>(run: () => Promise<T>): Promise<T> {
    await this.query('begin')
    try {
      const result = await run()
      await this.query('commit')
      return result
    } catch (error) {
      await this.query('rollback').catch(() => {})
      throw error
    }
  }

  async stop(): Promise<void> {
    await this.#client.end().catch(() => {})
  }
}
