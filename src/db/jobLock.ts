import { randomBytes } from 'node:crypto'
import type { DbSession } from './session.ts'

/** An advisory lock on a bigint, as pg_locks shows it. */
const HAS_KEY = (key: string) =>
  `l.locktype = 'advisory' and l.granted and l.objsubid = 1 and ((l.classid::bigint << 32) | l.objid::bigint) = ${key}
     and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())`

const LOCK_ROW = 'select t.name from starcite.locks t where t.name = $1 for no key update'

const FIND_LIVING_HOLDER = `
  select exists (select from pg_catalog.pg_locks l where l.pid = t.pid and l.mode = 'ExclusiveLock' and ${HAS_KEY('t.key')})
    from starcite.locks t where t.name = $1`

const TAKE = `
  update starcite.locks t set pid = pg_backend_pid(), key = $2, since = clock_timestamp() where t.name = $1`

const GIVE_BACK = `
  update starcite.locks t set pid = null, key = null, since = null
   where t.name = $1 and t.pid = pg_backend_pid() and t.key = $2`

/** The lock of builds before starcite.locks; to be dropped with the release after this one. */
const FORMER_KEY = `hashtextextended('starcite.' || $1, 0)`

/** Whether a role that may run the job has the former lock; any login could take it. */
const IS_FORMER_HELD = `
  select exists (
    select from pg_catalog.pg_locks l
      join pg_catalog.pg_stat_activity a on a.pid = l.pid
      join pg_catalog.pg_class c on c.oid = ('starcite.' || $2)::regclass
     where a.pid <> pg_backend_pid() and ${HAS_KEY(FORMER_KEY)} and pg_has_role(a.usesysid, c.relowner, 'usage'))`

/** The job, and the table that its runner has to own. */
interface Lockable {
  readonly name: string
  readonly table: string
}

/** Releases the lock. */
export type Release = () => Promise<void>

/**
 * Takes the lock of a job for the session; undefined when a living session holds it. The lock is held until it is
 * released, or until the connection ends.
 *
 * Only the owner of the schema can record the holder (starcite.locks). An advisory lock on a number that is new each
 * time shows that the holder lives: a login that reads the number in pg_locks can take it only when it is of no use
 * any more. No transaction stays open meanwhile, which would keep vacuum from its work.
 */
export async function takeLock(session: DbSession, { name, table }: Lockable): Promise<Release | undefined> {
  const key = String(randomBytes(8).readBigInt64BE())
  const release = async () => {
    await session.query(GIVE_BACK, [name, key])
    await session.query('select pg_advisory_unlock_all()')
  }
  await session.query('select pg_advisory_lock($1)', [key])
  if ((await takeFormer(session, name, table)) && (await takeRow(session, name, key))) return release
  await session.query('select pg_advisory_unlock_all()')
  return undefined
}

async function takeRow(session: DbSession, name: string, key: string): Promise<boolean> {
  return session.transaction(async () => {
    const rows = await session.query(LOCK_ROW, [name])
    if (rows.length === 0) throw new Error(`starcite.locks has no row ${name}`)
    const [held] = await session.query(FIND_LIVING_HOLDER, [name]) // read again, now that no other session can take the lock
    if (held?.[0] === 't') return false
    await session.query(TAKE, [name, key])
    return true
  })
}

/** Excludes, and is excluded by, nodes of an older build; a holder that may not run the job is ignored. */
async function takeFormer(session: DbSession, name: string, table: string): Promise<boolean> {
  const [row] = await session.query(`select pg_try_advisory_lock(${FORMER_KEY})`, [name])
  if (row?.[0] === 't') return true
  const [held] = await session.query(IS_FORMER_HELD, [name, table])
  return held?.[0] !== 't'
}
