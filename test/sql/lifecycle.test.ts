import { createHash } from 'node:crypto'
import { expect } from 'chai'
import type pg from 'pg'
import { migrate } from '../../src/db/migrate.ts'
import { feedKey } from '../../src/lifecycle/followers.ts'
import { createLog } from '../../src/ops/log.ts'
import { appendEvents, createSessions } from '../support/appendEvents.ts'
import { freshDatabase } from '../support/postgres.ts'
import { backendMs } from '../support/processorTime.ts'
import { connect } from '../support/template.ts'
import { until } from '../support/until.ts'
import { useDatabase } from '../support/useNode.ts'

/** How many times the processor time of creating sessions it may take to place them. */
const CREATIONS = 2

describe('changes of sessions in SQL', () => {
  const database = useDatabase()
  let db: pg.Client
  let second: pg.Client
  let third: pg.Client
  let keyOf: (tenant: string) => string

  before(async () => {
    ;[db, second, third] = await Promise.all([connect(database), connect(database), connect(database)])
    const { rows } = await db.query(`select starcite.secret_key('lifecycle feeds') as secret`)
    keyOf = (tenant) => feedKey(rows[0].secret, tenant)
  })
  beforeEach(() =>
    db.query('truncate starcite.sessions, starcite.session_progress, starcite.lifecycle_heads cascade'),
  )
  afterEach(() => second.query('rollback'))
  after(async () => {
    await Promise.all([db.end(), second.end(), third.end()])
  })

  const rename = (client: pg.Client, id: string, title: string) =>
    client.query('update starcite.sessions s set title = $2, version = s.version + 1 where s.id = $1', [
      id,
      title,
    ])
  const erase = (client: pg.Client, id: string) =>
    client.query('update starcite.sessions s set erased_at = now(), title = null where s.id = $1', [id])
  const sidOf = async (id: string): Promise<string> =>
    (await db.query('select s.sid from starcite.sessions s where s.id = $1', [id])).rows[0].sid

  async function place(client: pg.Client, ...sids: string[]) {
    const { rows } = await client.query('select * from starcite.place_changes($1)', [sids])
    return rows[0] as { feeds: string[]; waiting: string[]; is_more: boolean }
  }
  /** A tenant's feed as it can be read now, one line an entry. */
  async function feed(client: pg.Client = db, tenant = 'default'): Promise<string[]> {
    const { rows } = await client.query(
      `select e.place || case when e.number is null then '' else ' #' || e.number end || ' ' || e.what as line
         from (select c.place, c.number, c.kind || ' ' || s.id as what
                 from starcite.session_changes c join starcite.sessions s on s.sid = c.sid
                where c.tenant_id = $1 and c.place is not null
                union all
               select p.place, null, 'appended ' || s.id || ' ' || p.last_seq
                 from starcite.session_progress p join starcite.sessions s on s.sid = p.sid
                where p.tenant_id = $1) e
        order by e.place`,
      [tenant],
    )
    return rows.map(({ line }) => line)
  }
  const waitsForLock = (client: pg.Client) =>
    until('the call waits for a lock', async () => {
      const pid = (client as unknown as { processID: number }).processID
      return (await third.query('select cardinality(pg_blocking_pids($1)) > 0 as waits', [pid])).rows[0].waits
    })
  /** As if more than a second had passed since the feed told of anything. */
  const aSecondLater = () =>
    db.query(`update starcite.session_progress p set placed_at = p.placed_at - interval '1 second'`)

  describe('are recorded', () => {
    const record = async () => {
      const { rows } = await db.query(
        `select c.kind, c.actor, c.request_id, c.version::int, c.title, c.metadata::text
           from starcite.session_changes c order by c.change_id`,
      )
      return rows.map((row) => Object.values(row))
    }

    it('with the subject, for every kind of statement, and only when something changed', async () => {
      await db.query('begin')
      await db.query(`set local starcite.actor = 'service:billing'; set local starcite.request_id = 'r1'`)
      await db.query(`select starcite.create_session('default', 'a', 'first', '{ "n": 1.0 }')`)
      await db.query('commit')
      await rename(db, 'a', 'second')
      await rename(db, 'a', 'second')
      for (const archived of [true, true, false])
        await db.query('update starcite.sessions set archived = $1', [archived])
      await db.query(`update starcite.sessions set title = null, archived = true`)
      await db.query(`select starcite.create_session('default', 'a')`)

      expect(await record()).to.deep.equal([
        ['created', 'service:billing', 'r1', 1, 'first', '{ "n": 1.0 }'],
        ['updated', null, null, 2, 'second', '{ "n": 1.0 }'],
        ['archived', null, null, 3, null, null],
        ['unarchived', null, null, 3, null, null],
        ['updated', null, null, 3, null, '{ "n": 1.0 }'],
        ['archived', null, null, 3, null, null],
      ])
    })

    it('with the times that the session shows', async () => {
      await createSessions(db, 'a')
      await db.query(`update starcite.sessions s set title = 'x', updated_at = clock_timestamp()`)
      await erase(db, 'a')

      const { rows } = await db.query(
        `select c.kind from starcite.session_changes c join starcite.sessions s on s.sid = c.sid
          where c.at = case c.kind when 'created' then s.created_at when 'updated' then s.updated_at else s.erased_at end`,
      )
      expect(rows.map(({ kind }) => kind)).to.have.members(['created', 'updated', 'erased'])
    })

    it('in the transaction of the change, or not at all', async () => {
      await db.query('begin')
      await createSessions(db, 'a')
      await db.query('rollback')

      expect(await record()).to.deep.equal([])
    })

    it('without content once the session is erased', async () => {
      await db.query(`select starcite.create_session('default', 'a', 'secret', '{"secret":1}')`)
      await db.query(`select starcite.create_session('default', 'b', 'kept')`)
      await rename(db, 'a', 'secret too')
      await erase(db, 'a')

      expect(await record()).to.deep.equal([
        ['created', null, null, 1, null, null],
        ['created', null, null, 1, 'kept', '{}'],
        ['updated', null, null, 2, null, null],
        ['erased', null, null, 2, null, null],
      ])
    })
  })

  describe('get their places', () => {
    it('in the order of commits as readers can see it, not in that of ids', async () => {
      await second.query('begin')
      await createSessions(second, 'began first')
      await createSessions(db, 'committed first')
      await place(db)
      expect(await feed()).to.deep.equal(['2 #1 created committed first'])

      await second.query('commit')
      await place(db)

      expect(await feed()).to.deep.equal(['2 #1 created committed first', '4 #2 created began first'])
    })

    it('of each tenant by itself, without a gap', async () => {
      for (const [tenant, id] of [
        ['a', '1'],
        ['b', '2'],
        ['a', '3'],
      ])
        await db.query('select starcite.create_session($1, $2)', [tenant, id])
      await rename(db, '1', 'x')
      const placed = await place(db)

      expect(await feed(db, 'a')).to.deep.equal(['2 #1 created 1', '4 #2 created 3', '5 #3 updated 1'])
      expect(await feed(db, 'b')).to.deep.equal(['2 #1 created 2'])
      expect(placed.feeds).to.have.members([keyOf('a'), keyOf('b')])
      expect(await place(db)).to.deep.equal({ feeds: [], waiting: [], is_more: false })
    })

    it('while other transactions are open for long, with any locks', async () => {
      await createSessions(db, 'held', 'other')
      await appendEvents(db, [{ session: 'other' }]) // which makes the segment
      await place(db)
      await second.query('begin isolation level repeatable read')
      await createSessions(second, 'theirs')
      await second.query(`select from starcite.sessions s where s.id = 'held' for update`)
      await second.query(`select starcite.append('held', 't', '{}')`)

      await createSessions(db, 'mine')
      await rename(db, 'mine', 'x')
      await appendEvents(db, [{ session: 'mine' }])
      await place(db, await sidOf('mine'))
      expect(await feed()).to.deep.equal([
        '2 #1 created held',
        '4 #2 created other',
        '6 #3 created mine',
        '7 #4 updated mine',
        '8 appended mine 1',
      ])

      await second.query('commit')
      await place(db, await sidOf('held'))
      expect((await feed()).slice(5)).to.deep.equal(['10 #5 created theirs', '11 appended held 1'])
    })

    it('behind the first of their session whose row is locked, without waiting for it', async () => {
      await createSessions(db, 'a', 'b')
      await rename(db, 'a', 'x')
      await appendEvents(db, [{ session: 'a' }])
      const sid = await sidOf('a')
      await second.query('begin')
      await second.query(
        `select from starcite.session_changes c where c.sid = $1 and c.kind = 'created' for update`,
        [sid],
      )

      expect((await place(db, sid)).waiting).to.deep.equal([sid])
      expect(await feed()).to.deep.equal(['2 #1 created b'])
      await second.query('commit')
      await place(db, sid)

      expect(await feed()).to.deep.equal([
        '2 #1 created b',
        '4 #2 created a',
        '5 #3 updated a',
        '6 appended a 1',
      ])
    })

    it('from one placer after the other, who sees what the one before has told', async () => {
      await createSessions(db, 'a')
      await place(db)
      await appendEvents(db, [{ session: 'a' }])
      const sid = await sidOf('a')
      await second.query('begin')
      await place(second, sid)
      await createSessions(db, 'b')
      await appendEvents(db, [{ session: 'a' }])
      const placing = place(db, sid)
      await waitsForLock(db)
      await second.query('commit')

      expect(await placing).to.deep.equal({ feeds: [keyOf('default')], waiting: [sid], is_more: false })
      expect(await feed()).to.deep.equal(['2 #1 created a', '3 appended a 1', '5 #2 created b'])
    })

    it('without waiting for another placer, when there is nothing to place', async () => {
      await second.query('begin')
      await second.query(`select from starcite.locks l where l.name = 'lifecycle' for update`)

      expect(await place(db)).to.deep.equal({ feeds: [], waiting: [], is_more: false })
    })

    it('a thousand at a time', async () => {
      await createSessions(db, ...Array.from({ length: 1500 }, (_, i) => `s${i}`))

      expect((await place(db)).is_more).to.equal(true)
      expect((await place(db)).is_more).to.equal(false)
      expect((await feed()).at(-1)).to.equal('3000 #1500 created s1499')
    })

    it('in processor time that grows with their number and no faster, with any backlog and any planner statistics', async function () {
      this.timeout(120_000)
      const created = await backendMs(db)
      await db.query('begin')
      await db.query(`select starcite.create_session('default', 's' || n) from generate_series(1, 5000) n`)
      const createMs = (await backendMs(db)) - created
      // What autovacuum finds when it comes at this moment: pages, and no rows.
      for (const table of ['session_changes', 'session_heads', 'sessions'])
        await second.query(`analyze starcite.${table}`)
      await db.query('commit')
      const { rows } = await db.query(
        `select array_agg(a.sid) as moved
           from generate_series(1, 500) n
          cross join lateral (select h.sid, starcite.append('s' || n, 'x', '{}')
                                from starcite.sessions s join starcite.session_heads h on h.sid = s.sid
                               where s.id = 's' || n) a`,
      )
      const placing = await backendMs(db)

      let calls = 0
      for (let more = true; more; calls += 1) more = (await place(db, ...rows[0].moved)).is_more
      const ms = (await backendMs(db)) - placing

      expect(calls).to.equal(6)
      expect(await feed()).to.have.length(5500)
      // When each change was compared with each, it took ten times as long as creating the sessions, and not a quarter.
      expect(ms).to.be.below(CREATIONS * createMs)
    })

    it('or fail, in a transaction whose snapshot is older than the places given', async () => {
      await createSessions(db, 'a')
      await second.query('begin isolation level repeatable read')
      await second.query('select count(*) from starcite.session_changes')
      await place(db)

      expect(await place(second).catch((error) => error.code)).to.equal('40001')
      expect(await feed()).to.deep.equal(['2 #1 created a'])
    })
  })

  describe('of the log', () => {
    beforeEach(async () => {
      await createSessions(db, 'a', 'b')
      await place(db)
    })

    it('are reported once a second at most, with the newest state', async () => {
      const sid = await sidOf('a')
      await appendEvents(db, [{ session: 'a' }, { session: 'a' }])
      expect((await place(db, sid)).waiting).to.deep.equal([])
      await appendEvents(db, [{ session: 'a' }])

      expect((await place(db, sid)).waiting).to.deep.equal([sid])
      expect((await feed()).slice(2)).to.deep.equal(['5 appended a 2'])
      await appendEvents(db, [{ session: 'a' }])
      await aSecondLater()
      await place(db, sid)

      expect((await feed()).slice(2)).to.deep.equal(['6 appended a 4'])
      expect(await place(db, sid)).to.deep.equal({ feeds: [], waiting: [], is_more: false })
    })

    it('are reported only for new events of an existing session', async () => {
      await appendEvents(db, [{ session: 'b' }])
      await erase(db, 'b')
      await place(db, '999999')
      const before = await feed()

      const placed = await place(db, await sidOf('a'), await sidOf('b'), '999999')

      expect(placed).to.deep.equal({ feeds: [], waiting: [], is_more: false })
      expect(await feed()).to.deep.equal(before)
    })

    it('are reported after the creation of the session, if it was created in the same moment', async () => {
      await createSessions(db, 'c')
      await appendEvents(db, [{ session: 'c' }])
      await place(db, await sidOf('c'))

      expect((await feed()).slice(2)).to.deep.equal(['6 #3 created c', '7 appended c 1'])
    })

    it('are recorded by no append', async () => {
      await appendEvents(db, [{ session: 'a' }, { session: 'b' }])
      await db.query(`select starcite.append('a', 't', '{}')`)

      const { rows } = await db.query('select count(*)::int from starcite.session_progress')
      expect(rows).to.deep.equal([{ count: 0 }])
    })
  })

  it('are notified of by the keys of the feeds, once a call, below 8,000 bytes', async () => {
    const received: string[] = []
    third.on('notification', ({ payload }) => received.push(payload ?? ''))
    await third.query('listen starcite_lifecycle')
    const tenants = Array.from({ length: 900 }, (_, i) => `ténant ${i} 🦊`)
    await db.query(`select starcite.create_session(t, 'a') from unnest($1::text[]) t`, [tenants])

    await place(db)
    await place(db)
    await db.query('notify starcite_lifecycle')
    await until('the last notification', () => received.at(-1) === '')

    const payloads = received.slice(0, -1)
    expect(payloads).to.have.lengthOf(3)
    expect(Math.max(...payloads.map((payload) => payload.length))).to.be.below(8000)
    expect(payloads.flatMap((payload) => JSON.parse(payload))).to.have.members(tenants.map(keyOf))
  })

  it('are announced under keys that say nothing of the tenant to others: each installation has its own', async () => {
    const key = async (of: pg.Client) =>
      (await of.query(`select starcite.feed_key('acme') as key`)).rows[0].key
    const other = await freshDatabase()
    await migrate(other.url, '0.0.0-test', createLog('silent'))
    const theirs = await connect(other)

    expect(await key(db))
      .to.equal(keyOf('acme'))
      .and.not.equal(await key(theirs))
    expect(await key(db)).not.to.equal(createHash('sha256').update('acme').digest('hex').slice(0, 16))
    await theirs.end()
    await other.drop()
  })
})
