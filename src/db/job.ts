import type { Log } from '../ops/log.ts'
import { takeLock } from './jobLock.ts'
import { DbSession } from './session.ts'

/** Something that the whole database needs once, whichever node does it. */
export interface Job {
  /** Names its lock, and its connection. */
  readonly name: 'tiering' | 'checkpoints'
  /** Of the schema starcite: who does the job has to own it. */
  readonly table: string
  /** For its statements, as Postgres writes intervals. */
  readonly statementTimeout: string
}

export interface JobConnection {
  /** A direct connection, of the tables' owner: the lock belongs to its session. */
  readonly url: string
  readonly connectTimeoutMs: number
  readonly log: Log
  /** Cuts what is under way. */
  readonly signal: AbortSignal
}

export type JobResult<T> =
  | { readonly ran: false; readonly why: 'held' | 'not_allowed' }
  | { readonly ran: true; readonly result: T }

/**
 * Runs a job if this role may, and no node is at it. All of it is to go through the one connection that it is given, which
 * has the lock: who loses the lock can write nothing more. `look` is called in the end in any case, also after a failure and
 * where another node is at it; what it rejects with is not told.
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

/** The job's transactions could not commit else; nodes that are not told find out by polling. */
const NOTIFY_WHERE_THERE_IS_ROOM = `
  select set_config('starcite.notify', case when pg_notification_queue_usage() > 0.9 then 'off' else 'on' end, false)`

/** A role's own time-outs are meant for short statements, and for connections that somebody forgot. */
async function prepare(session: DbSession, { statementTimeout }: Job): Promise<void> {
  await session.query(`set statement_timeout = '${statementTimeout}'`)
  await session.query('set idle_session_timeout = 0')
  await session.query(NOTIFY_WHERE_THERE_IS_ROOM)
  await session.query('set max_parallel_workers_per_gather = 0') // the other processors are for others
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
