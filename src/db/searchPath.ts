import pg from 'pg'
import { PINNED, PinnedQuery } from './pinnedQuery.ts'

/** These statements have no function and no operator, which would be looked up on the path that they replace. */
const pins = (word: 'set' | 'set local') =>
  Object.entries(PINNED)
    .map(([name, value]) => `${word} ${name} = ${value}`)
    .join('; ')

/** Pins the settings of a connection that is a session of Postgres: a direct one. */
export async function pinSession(client: pg.ClientBase, timeoutMs: number): Promise<void> {
  const query = { text: pins('set'), query_timeout: timeoutMs }
  await client.query(query)
}

/** Pins the settings of the client's current transaction only: this also works behind a pooler. */
export async function pinTransaction(client: pg.ClientBase): Promise<void> {
  await client.query(pins('set local'))
}

export async function inPinnedTransaction<T>(client: pg.ClientBase, run: () => Promise<T>): Promise<T> {
  await client.query('begin isolation level read committed')
  try {
    await pinTransaction(client)
    const result = await run()
    await client.query('commit')
    return result
  } catch (error) {
    await client.query('rollback').catch(() => {})
    throw error
  }
}

/** Nothing was sent of the statement that the connection was opened for. */
export class NotPinnedError extends Error {
  override readonly name = 'NotPinnedError'
}

/** Members of pg's client that its types lack. */
interface Internals {
  readonly processID: number | null
  readonly connection: { readonly stream: { destroy(): void } }
}

/** These need no pin, and must be the first of their transaction. */
const NEEDS_NO_SEARCH_PATH = /^(begin|commit|rollback)\b/

/**
 * A connection whose statements never look into a schema that others can write to, also behind a pooler.
 *
 * On a direct connection the path is set once. Behind a pooler (the server process is not that of the handshake) a
 * session setting would stay with a server connection that other clients get next, and this client would lose it.
 * There each statement is sent together with one that sets the path for its transaction, in the same round trip.
 */
export class PinnedClient extends pg.Client {
  readonly #openedAt = performance.now()
  #isPooled = false

  /**
   * Call it after connecting, before the first statement. Rejects with a NotPinnedError, and closes the connection,
   * when it is not done within `timeoutMs` of the connection's beginning.
   */
  async pin(timeoutMs: number): Promise<void> {
    const { processID, connection } = this as unknown as Internals
    const query = {
      text: `select ${Object.entries(PINNED)
        .map(([name, value]) => `pg_catalog.set_config('${name}', '${value}', false)`)
        .join(', ')}
              where pg_catalog.pg_backend_pid() operator(pg_catalog.=) ${Number(processID ?? 0)}`,
      query_timeout: Math.max(1, timeoutMs - (performance.now() - this.#openedAt)),
    }
    try {
      const { rowCount } = await super.query(query)
      this.#isPooled = rowCount === 0
    } catch (cause) {
      connection.stream.destroy() // a graceful close might wait for ever
      throw new NotPinnedError(
        `the connection broke before its first statement: ${(cause as Error).message}`,
        {
          cause,
        },
      )
    }
  }

  // biome-ignore lint/suspicious/noExplicitAny: as pg declares it, in a dozen overloads
  override query(...args: any[]): any {
    const [config, values] = args
    if (!this.#isPooled || NEEDS_NO_SEARCH_PATH.test(config.text ?? config))
      return (super.query as (...args: unknown[]) => unknown)(...args)
    return new Promise((resolve, reject) => {
      const query = new PinnedQuery(config, values, (error, result) =>
        error ? reject(error) : resolve(result),
      )
      super.query(query as unknown as pg.Submittable)
    })
  }
}
