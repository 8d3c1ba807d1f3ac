import pg from 'pg'
import { pause } from '../lib/backoff.ts'
import type { Log } from '../ops/log.ts'
import { inPinnedTransaction, pinTransaction } from './searchPath.ts'

/** How long one attempt waits in the queue of the lock before it logs what it waits for. */
const TRY_TIMEOUT = '2s'
/** The pause where the wait is not in a queue of Postgres. */
const LOOK_MS = 100
/** The lock of earlier builds, held by a session; to be dropped with the release after this one. */
const FORMER_KEY = `hashtextextended('starcite.migrate', 0)`

/** Other programs that grant or alter at the same time are few: the tries end where an error would be for ever. */
const MAX_CONFLICTS = 20

/** Another transaction holds the lock, or is creating the schema or the table of the lock. */
const TAKEN = new Set([
  '55P03', // lock_not_available
  '42P06', // duplicate_schema
  '42P07', // duplicate_table
  '23505', // unique_violation, of their catalogs
])

/**
 * Runs one migration at a time: calls `run` in a transaction that holds the lock, and commits it; an error rolls
 * everything back.
 *
 * The lock is one on the table starcite.migrations, which only its owner may take. Before the table exists, the first
 * transaction to create the schema has the turn: the others meet its uncommitted entry of the catalog, and wait. The
 * lock belongs to a transaction, so it ends with it, also on a connection of a pooler. When a program without the lock
 * changes the same entry of a catalog, with a GRANT for example, the transaction runs again. `open` is called in the
 * transaction before the lock is taken: it creates the schema when it does not exist, and returns whether this role
 * owns it.
 */
export async function inMigrationTurn<T>(
  client: pg.Client,
  log: Log,
  open: () => Promise<boolean>,
  run: (isOwner: boolean) => Promise<T>,
): Promise<T> {
  for (let [waits, conflicts] = [0, 0]; ; ) {
    await client.query('begin isolation level read committed')
    await pinTransaction(client)
    let hasTurn = false
    try {
      await client.query(`set local lock_timeout = '${TRY_TIMEOUT}'`)
      const isOwner = await open()
      if (isOwner) await takeTurn(client)
      await client.query('set local lock_timeout to default')
      hasTurn = true
      const result = await run(isOwner)
      await client.query('commit')
      return result
    } catch (error) {
      await client.query('rollback').catch(() => {})
      if (isConflict(error) && conflicts < MAX_CONFLICTS) {
        conflicts += 1
        await pause(LOOK_MS * Math.random())
        continue
      }
      if (hasTurn || !isTaken(error)) throw error
      // A holder that took the lock between two attempts has ended: there is nothing to log.
      const holder = await inPinnedTransaction(client, () => findHolder(client))
      if (holder !== undefined)
        log[waits === 0 ? 'info' : 'warn']({ holder }, `waiting for ${holder}, which migrates the schema`)
      waits += 1
      await pause(LOOK_MS)
    }
  }
}

class TakenError extends Error {}

const isTaken = (error: unknown) =>
  error instanceof TakenError || (error instanceof pg.DatabaseError && TAKEN.has(error.code ?? ''))

/**
 * Two transactions changed one tuple of a catalog, and the other one committed. Postgres reports it as an internal error
 * ("tuple concurrently updated"), in the language of the server; the names of its functions are the same in all.
 */
const isConflict = (error: unknown) =>
  error instanceof pg.DatabaseError &&
  error.code === 'XX000' &&
  (error.routine === 'simple_heap_update' || error.routine === 'simple_heap_delete')

async function takeTurn(client: pg.Client): Promise<void> {
  if (await isFormerHeld(client)) throw new TakenError()
  const { rows } = await client.query(`select to_regclass('starcite.migrations') is null as missing`)
  // As node-pg-migrate creates it.
  if (rows[0]?.missing)
    await client.query(
      'create table starcite.migrations (id serial primary key, name varchar(255) not null, run_on timestamp not null)',
    )
  await client.query('lock table starcite.migrations in exclusive mode')
}

/** Keeps older builds out. One that holds the lock already is waited for; a holder that may not migrate is not. */
async function isFormerHeld(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ taken: boolean; held: boolean }>(
    `select k.taken, not k.taken and exists (
              select from pg_catalog.pg_locks l
                join pg_catalog.pg_stat_activity a on a.pid = l.pid
               where l.locktype = 'advisory' and l.granted and l.pid <> pg_backend_pid()
                 and ((l.classid::bigint << 32) | l.objid::bigint) = ${FORMER_KEY}
                 and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())
                 and pg_has_role(a.usesysid, n.nspowner, 'usage')) as held
       from (select pg_try_advisory_xact_lock(${FORMER_KEY}) as taken) k
       join pg_catalog.pg_namespace n on n.nspname = 'starcite'`,
  )
  return rows[0]?.held ?? false
}

/** Describes the holder of the turn; undefined when there is none. Only roles that may migrate count. */
export async function findHolder(client: pg.Client): Promise<string | undefined> {
  const { rows } = await client.query<{ pid: number; name: string; role: string | null }>(
    `select a.pid, a.application_name as name, a.usename as role
       from pg_catalog.pg_stat_activity a
       left join pg_catalog.pg_namespace n on n.nspname = 'starcite'
      where a.datname = current_database() and a.pid <> pg_backend_pid()
        and coalesce(pg_has_role(a.usesysid, n.nspowner, 'usage'),
                     has_database_privilege(a.usesysid, a.datid, 'create'))
        and exists (
              select from pg_catalog.pg_locks l
               where l.pid = a.pid and l.granted and l.mode = 'ExclusiveLock'
                 and case l.locktype
                       when 'transactionid' then a.application_name = 'starcite migrate'
                       when 'relation' then l.database = a.datid and l.relation = to_regclass('starcite.migrations')
                       when 'advisory' then l.database = a.datid
                                            and ((l.classid::bigint << 32) | l.objid::bigint) = ${FORMER_KEY}
                     end)
      limit 1`,
  )
  const [holder] = rows
  return (
    holder && `process ${holder.pid} of Postgres (${holder.name || 'without a name'}, role ${holder.role})`
  )
}
