import type { Log } from '../ops/log.ts'
import { takeLock } from './jobLock.ts'
import { DbSession } from './session.ts'

/** Work that the whole database needs once, done by one node at a time. */
export interface Job {
  /** The name of its lock, and of its connection. */
  readonly name: 'tiering' | 'checkpoints'
  /** A table of the schema starcite whose owner may run the job. */
  readonly table: string
  /** The time-out of its statements, as a Postgres interval. */
  readonly statementTimeout: string
}

export interface JobConnection {
  /** A direct connection as the owner of the tables, because the lock belongs to its session. */
  readonly url: string
  readonly connectTimeoutMs: number
  readonly log: Log
  /** Interrupts the job. */
  readonly signal: AbortSignal
}

export type JobResult<T> =
  | { readonly ran: false; readonly why: 'held' | 'not_allowed' }
  | { readonly ran: true; readonly result: T }

/**
 * Runs a job if this role may, and no other node runs it. The job must use only the connection that it is given,
 * which holds the lock, so a job that lost the lock writes nothing more. `look` is always called at the end, also
 * after a failure and when another node runs the job; its rejection is ignored.
 */
export async function runAlone<T>(
  job: Job,
  { url, connectTimeoutMs, log, signal }: JobConnection,
  run: (session: DbSession) => Promise<T>,
  look: (session: DbSession) => Promise<void>,
): Promise<JobResult<T>> {
  const session = await DbSession.open(url, `starcite ${job.name}`, connectTimeoutMs, log)
  const cut = () => void session.stop()
  signal.addEventListener('abort', cut, { once: true })
  try {
    signal.throwIfAborted()
    await prepare(session, job)
    if (!(await ownsTable(session, job))) return { ran: false, why: 'not_allowed' }
    const release = await takeLock(session, job)
    if (release === undefined) return { ran: false, why: 'held' }
    const result = await run(session)
    await release()
    return { ran: true, result }
  } finally {
    await look(session).catch(() => {})
    signal.removeEventListener('abort', cut)
    await session.stop()
  }
}

/** Lets the job's transactions commit while the notification queue is full; nodes without notifications poll. */
const NOTIFY_WHERE_THERE_IS_ROOM = `
  select set_config('starcite.notify', case when pg_notification_queue_usage() > 0.9 then 'off' else 'on' end, false)`

/** The time-outs of a role are meant for short statements and forgotten connections. */
async function prepare(session: DbSession, { statementTimeout }: Job): Promise<void> {
  await session.query(`set statement_timeout = '${statementTimeout}'`)
  await session.query('set idle_session_timeout = 0')
  await session.query(NOTIFY_WHERE_THERE_IS_ROOM)
  await session.query('set max_parallel_workers_per_gather = 0') // the other processors are for other work
}

/** Whether this connection's role is, or is a member of, the owner of the job's table. */
export async function ownsTable(session: DbSession, { table }: Pick<Job, 'table'>): Promise<boolean> {
  const [row] = await session.query(
    `select pg_has_role(current_user, c.relowner, 'usage') from pg_catalog.pg_class c
      where c.oid = ('starcite.' || $1)::regclass`,
    [table],
  )
  return row?.[0] === 't'
}
