import pg from 'pg'
import type { Log } from '../ops/log.ts'

/** How long a statement waits for a connection that the other client holds, before that counts as the answer. */
const WAIT_MS = 1000
const CONNECT_TIMEOUT_MS = 5000
const STATEMENT = 'starcite_examine'

/** The kind of server or pooler that a URL leads to. */
export interface Sharing {
  /** Whether statements of one connection may run in different sessions of Postgres: a pooler in transaction mode. */
  readonly sharesSessions: boolean
  /** Whether named prepared statements can be used all the same. */
  readonly keepsStatements: boolean
}

/**
 * Detects a pooler with two connections: what the first has left in its session must exist while the second is in a
 * transaction, for which a pooler in transaction mode gives it the session that has just become free.
 */
export async function examineSharing(url: string, log: Log): Promise<Sharing> {
  const [first, second] = [open(url, log), open(url, log)]
  try {
    await first.connect()
    const before = await sessionOf(first)
    await second.connect()
    // Without a session of its own, this client waits for the one that the first client holds.
    if (!(await inTime(second, 'begin'))) return ALONE
    const sharesSessions = (await sessionOf(second)) === before || (await sessionOf(first)) !== before
    if (!sharesSessions) return ALONE
    await second.query('rollback')
    return { sharesSessions, keepsStatements: await keepsStatements(first, second) }
  } finally {
    await Promise.all([first.end().catch(() => {}), second.end().catch(() => {})])
  }
}

const ALONE: Sharing = { sharesSessions: false, keepsStatements: true }

/** The process of Postgres behind the connection; undefined while none is available. */
async function sessionOf(client: pg.Client): Promise<number | undefined> {
  return (await inTime(client, 'select pg_catalog.pg_backend_pid() as pid'))?.rows[0]?.pid
}

/** Undefined when it waits. */
async function inTime(client: pg.Client, text: string): Promise<pg.QueryResult | undefined> {
  const query = { text, query_timeout: WAIT_MS }
  return client.query(query).catch((error: Error) => {
    if (/^Query read timeout/.test(error.message)) return undefined
    throw error
  })
}

/** One client prepares a statement, then finds it in another session, and another client uses the same name. */
async function keepsStatements(first: pg.Client, second: pg.Client): Promise<boolean> {
  const prepared = { name: STATEMENT, text: 'select 1', query_timeout: WAIT_MS }
  try {
    await first.query(prepared)
    await second.query('begin')
    await second.query(prepared)
    await first.query(prepared)
    await second.query('rollback')
    return true
  } catch (error) {
    // The first client may find no second session to run in: as far as can be seen it works.
    return !(error instanceof pg.DatabaseError)
  }
}

function open(url: string, log: Log): pg.Client {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'starcite examine',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  })
  client.on('error', (error) =>
    log.debug({ err: error }, 'a connection that examines the database URL broke'),
  )
  return client
}
