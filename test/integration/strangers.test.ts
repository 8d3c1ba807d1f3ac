import { expect } from 'chai'
import type pg from 'pg'
import { takeLock } from '../../src/db/jobLock.ts'
import { migrate } from '../../src/db/migrate.ts'
import { DbSession } from '../../src/db/session.ts'
import { createLog } from '../../src/ops/log.ts'
import { TIERING } from '../../src/tiering/tieringJob.ts'
import { createSessions } from '../support/appendEvents.ts'
import type { FreshDatabase } from '../support/postgres.ts'
import { asStranger } from '../support/stranger.ts'
import { connect, migratedDatabase } from '../support/template.ts'
import { until } from '../support/until.ts'

const log = createLog('silent')
const LOCKS_OF_BEFORE = ['migrate', 'ensure_segment', 'lifecycle', 'tiering', 'checkpoints']

describe('a login that may only connect', () => {
  let database: FreshDatabase
  let db: pg.Client
  const sessions: DbSession[] = []

  beforeEach(async () => {
    database = await migratedDatabase()
    db = await connect(database)
  })
  afterEach(async () => {
    for (const session of sessions.splice(0)) await session.stop()
    await db.end()
    await database.drop()
  })

  const openSession = async () => {
    const session = await DbSession.open(database.url, 'strangers', 5000, log)
    sessions.push(session)
    return session
  }

  it('stops nothing with advisory locks: appends, segments, the feed, jobs and migrations go on', async () => {
    await createSessions(db, 's')
    await asStranger(database, db, async (stranger) => {
      for (const name of LOCKS_OF_BEFORE)
        await stranger.query(`select pg_advisory_lock(hashtextextended('starcite.' || $1, 0))`, [name])
      await db.query(`set lock_timeout = '1s'`)

      await db.query(`select starcite.ensure_segment('2031-01-01')`)
      await db.query(`select starcite.append('s', 't', '{}')`)
      const { rows } = await db.query(`select p.feeds from starcite.place_changes('{}') p`)
      const release = await takeLock(await openSession(), TIERING)
      await migrate(database.url, '0.0.1', log)

      expect(rows[0].feeds).to.have.lengthOf(1)
      expect(release).not.to.equal(undefined)
    })
  })

  it('cannot take the lock of a job with what pg_locks shows of it', async () => {
    const holder = await openSession()
    await takeLock(holder, TIERING)
    await asStranger(database, db, async (stranger) => {
      const { rows } = await stranger.query<{ key: string }>(
        `select ((l.classid::bigint << 32) | l.objid::bigint)::text as key from pg_catalog.pg_locks l
          where l.locktype = 'advisory' and l.granted
            and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())`,
      )
      expect(rows).to.have.lengthOf(2) // the second is the one of builds before
      await stranger.query(`set lock_timeout = '20s'`)
      const queued = stranger.query(`select ${rows.map(({ key }) => `pg_advisory_lock(${key})`)}`)
      await until('it waits in the queue', async () => {
        const waiting = await db.query(
          `select from pg_catalog.pg_locks l where l.locktype = 'advisory' and not l.granted
              and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())`,
        )
        return waiting.rowCount === 1
      })
      expect(await takeLock(await openSession(), TIERING), 'while it is held').to.equal(undefined)

      await holder.stop()
      await queued // now the stranger has what the holder had
      const next = await openSession()
      const release = await until('the next one has it', () => takeLock(next, TIERING))
      await release()
    })
  })

  it('cannot lock the rows of our own', async () => {
    await asStranger(database, db, async (stranger) => {
      for (const statement of [
        'begin; select from starcite.locks l for share',
        'begin; lock table starcite.locks in share mode',
        'begin; lock table starcite.migrations in access share mode',
      ]) {
        const code = await stranger.query(statement).then(
          () => 'done',
          (error: pg.DatabaseError) => error.code,
        )
        expect(code, statement).to.equal('42501')
        await stranger.query('rollback')
      }
    })
  })
})

describe('the lock of a job', () => {
  let database: FreshDatabase
  let db: pg.Client

  before(async () => {
    database = await migratedDatabase()
    db = await connect(database)
  })
  after(async () => {
    await db.end()
    await database.drop()
  })

  const open = () => DbSession.open(database.url, 'job lock', 5000, log)

  it('has one holder among many who try at once, again and again', async () => {
    const all = await Promise.all(Array.from({ length: 8 }, open))
    for (let round = 0; round < 5; round += 1) {
      const taken = await Promise.all(all.map((session) => takeLock(session, TIERING)))
      const releases = taken.filter((address) => address !== undefined)
      expect(releases).to.have.lengthOf(1)
      await releases[0]?.()
    }
    await Promise.all(all.map((session) => session.stop()))
  })

  it('ends with the connection of its holder, and holds back no vacuum', async () => {
    const [holder, other] = await Promise.all([open(), open()])
    await takeLock(holder, TIERING)
    const [pid] = (await holder.query('select pg_backend_pid()'))[0] ?? []
    const { rows } = await db.query(
      'select a.backend_xid, a.backend_xmin, a.state from pg_catalog.pg_stat_activity a where a.pid = $1',
      [pid],
    )
    expect(rows).to.deep.equal([{ backend_xid: null, backend_xmin: null, state: 'idle' }])
    expect(await takeLock(other, TIERING)).to.equal(undefined)

    await db.query('select pg_terminate_backend($1)', [pid])
    const release = await until('the other has it', () => takeLock(other, TIERING))

    await release()
    await Promise.all([holder.stop(), other.stop()])
  })

  it('is not taken beside a node of an older build, and keeps such a node out', async () => {
    const former = `select pg_try_advisory_lock(hashtextextended('starcite.tiering', 0)) as taken`
    const session = await open()
    await db.query(former)
    expect(await takeLock(session, TIERING)).to.equal(undefined)
    await db.query('select pg_advisory_unlock_all()')

    const release = await takeLock(session, TIERING)
    expect((await db.query(former)).rows[0].taken).to.equal(false)
    await release?.()
    expect((await db.query(former)).rows[0].taken).to.equal(true)
    await db.query('select pg_advisory_unlock_all()')
    await session.stop()
  })
})
