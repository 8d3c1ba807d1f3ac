import { expect } from 'chai'
import { migrate } from '../../src/db/migrate.ts'
import { createLog } from '../../src/ops/log.ts'
import type { Service } from '../../src/service.ts'
import { call } from '../support/client.ts'
import { FakeClockPostgres, fakeTimeLibrary } from '../support/fakeClock.ts'
import { startNode } from '../support/node.ts'
import { TieringLab } from '../support/tiering.ts'
import { useEach } from '../support/use.ts'

const LIBRARY = fakeTimeLibrary()
const JUMP = '+1200d'
const HOUR_MS = 3_600_000

/** The node's own job stays out of it. */
const NO_JOB = { STARCITE_ARCHIVE_FLUSH_INTERVAL_MS: '86400000' }

if (LIBRARY === undefined)
  console.log('    (libfaketime is not installed: the clock of Postgres cannot be set)')
else
  describe("a jump of Postgres's clock", function () {
    this.timeout(60_000)
    const clock = useEach(() => FakeClockPostgres.start(LIBRARY))
    let lab: TieringLab
    let node: Service | undefined

    beforeEach(async () => {
      const { url } = clock.server
      await migrate(url, '0.0.0-test', createLog('silent'))
      lab = await TieringLab.open(undefined, { url, name: 'postgres', drop: async () => {} })
      await lab.db.query(`update starcite.settings s set value = '3 hours' where s.name = 'hot_retention'`)
      await lab.session('one')
    })
    afterEach(async () => {
      await node?.stop()
      node = undefined
      await lab.close()
    })

    const append = async (): Promise<number> => {
      await lab.append([{ session: 'one' }])
      const { rows } = await lab.db.query(
        'select extract(epoch from h.last_event_at)::float8 * 1e6 as at from starcite.session_heads h',
      )
      return rows[0].at
    }
    const setting = async (name: string): Promise<string> =>
      (await lab.db.query('select s.value from starcite.settings s where s.name = $1', [name])).rows[0].value

    it('ahead and back closes no segment of now: later events have their own time', async () => {
      await append()
      await lab.move() // the clock is looked at in every pass

      await clock.set(JUMP)
      await lab.move()
      await lab.move()
      expect(await setting('closed_before')).to.equal('-infinity')
      await clock.set('+0')
      await lab.move()

      const times = [await append(), await append()]
      for (const at of times) expect(Math.abs(at / 1000 - Date.now())).to.be.below(HOUR_MS / 2)
      expect(times[1]).to.be.above(times[0] as number)
    })

    it('that lasts is accepted after a while: segments move again', async () => {
      await append()
      await lab.move()
      await clock.set(JUMP)
      await lab.move()
      expect((await lab.segments()).map(({ state }) => state)).to.deep.equal(['hot'])

      await clock.set('+1200d')
      await lab.db.query(
        `update starcite.settings s set value = starcite.wire_time(s.value::timestamptz - interval '2 hours') where s.name = 'clock_seen'`,
      )
      await lab.move()

      expect((await lab.segments()).map(({ state }) => state)).to.deep.equal(['dropped'])
    })

    it('back behind what is closed leaves every event of a session its own time, in order', async () => {
      await append()
      await lab.db.query(`update starcite.settings s set value = '-1 year' where s.name = 'hot_retention'`)
      await lab.move()
      await clock.set('-3d')

      const times = [await append(), await append(), await append()]

      expect(new Set(times)).to.have.lengthOf(3)
      expect([...times].sort((a, b) => a - b)).to.deep.equal(times)
      expect(await lab.tail(await sid())).to.have.lengthOf(4)
    })

    it('ahead is refused by nodes until it is over: no session gets a time to come', async () => {
      node = await startNode({ url: clock.server.url }, { ...NO_JOB, STARCITE_STORAGE_TIMEOUT: '1s' })
      const post = () =>
        call('POST', `${node?.url}/v1/sessions/one/append`, { type: 't', payload: {}, actor: 'user:u' })
      expect((await post()).status).to.equal(201)

      await clock.set(JUMP)
      const refused = await post()
      expect(refused.status).to.equal(503)
      expect(refused.json).to.include({ error: 'storage_unavailable' })
      expect(refused.headers.get('retry-after')).to.equal('1')
      await clock.set('+0')

      expect((await post()).status).to.equal(201)
      const events = (await call('GET', `${node.url}/v1/sessions/one/events`)).json.events
      expect(events).to.have.lengthOf(2)
      for (const { inserted_at } of events)
        expect(Math.abs(Date.parse(inserted_at) - Date.now())).to.be.below(HOUR_MS / 2)
      const { rows } = await lab.db.query(
        `select count(*)::int as n from starcite.segments g where g.from_at > clock_timestamp() + interval '1 day'`,
      )
      expect(rows[0].n).to.equal(0)
    })

    const sid = async (): Promise<string> =>
      (await lab.db.query(`select s.sid from starcite.sessions s where s.id = 'one'`)).rows[0].sid
  })
