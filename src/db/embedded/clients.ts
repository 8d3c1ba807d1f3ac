import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { pinSession } from '../searchPath.ts'
import { readPassword } from './password.ts'
import { LOOPBACK } from './ports.ts'

/** On loopback an answer takes milliseconds; a fully loaded machine may need a thousand times that. */
const CONNECT_MS = 5_000
/**
 * The server notices a closed connection a moment after the client closed it, so this process's own connection is
 * given time to vanish.
 */
const LAST_CLIENT_GRACE_MS = 1_000
const POLL_MS = 10
/** The SQLSTATE of a server that is starting or stopping: `cannot_connect_now`. */
const NOT_NOW = '57P03'

/** The URL of the server of a data directory, with its password if it has one. */
export async function urlOf(dir: string, port: number): Promise<string> {
  const password = await readPassword(dir)
  return `postgres://postgres${password === undefined ? '' : `:${password}`}@${LOOPBACK}:${port}/postgres`
}

/** Whether the server accepts clients. A server that was just killed may look alive for a moment, but does not. */
export async function takesClients(dir: string, port: number): Promise<boolean> {
  try {
    await withClient(dir, port, (client) => client.query('select 1'))
    return true
  } catch (cause) {
    // Any other refusal, such as too many clients, comes from a living server.
    return cause instanceof pg.DatabaseError && cause.code !== NOT_NOW
  }
}

/** Whether clients other than the asker stay connected. */
export function isInUse(dir: string, port: number): Promise<boolean> {
  return withClient(dir, port, async (client) => {
    for (const deadline = Date.now() + LAST_CLIENT_GRACE_MS; ; await sleep(POLL_MS)) {
      const { rowCount } = await client.query(
        `select from pg_catalog.pg_stat_activity a
          where a.backend_type = 'client backend' and a.pid <> pg_catalog.pg_backend_pid()`,
      )
      if (rowCount === 0) return false
      if (Date.now() > deadline) return true
    }
  })
}

export async function withClient<T>(
  dir: string,
  port: number,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({
    connectionString: await urlOf(dir, port),
    connectionTimeoutMillis: CONNECT_MS,
    query_timeout: CONNECT_MS,
  })
  client.on('error', () => undefined) // the server may end during the query, which then fails by itself
  try {
    await client.connect()
    await pinSession(client, CONNECT_MS)
    return await work(client)
  } finally {
    await client.end()
  }
}
