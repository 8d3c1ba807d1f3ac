import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect } from 'chai'
import { S3Store } from '../../src/objects/s3Store.ts'
import { findSession } from '../../src/sessions/queries.ts'
import { programOf } from '../support/programs.ts'
import { residueOf } from '../support/residue.ts'
import { ACCESS_DENIED, type S3Request, S3Server } from '../support/s3Server.ts'
import { HASTY, someEvents, TieringLab } from '../support/tiering.ts'
import { until } from '../support/until.ts'
import { faultsOfChain } from '../support/wholeChain.ts'

const PROGRAM = programOf('test/support/tieringProgram.ts')
const EVENTS = 20

/** A session with events in objects and some that are hot; its name is in all of them. */
async function victim(lab: TieringLab, id: string): Promise<string> {
  const sid = await lab.session(id)
  const events = (from: number) =>
    Array.from({ length: EVENTS }, (_, n) => ({
      session: id,
      payload: `{"secret":"<${id}>","n":${from + n}}`,
    }))
  const neighbours = someEvents([{ session: 'neighbour' }], EVENTS).map((event) => ({
    ...event,
    ...(event.producer && { producer: [id, event.producer[1]] as const }),
  }))
  await lab.makeAllDue()
  await lab.append([...events(0), ...neighbours])
  await lab.move()
  await lab.append(events(EVENTS))
  await nothingDue(lab)
  return sid
}

const nothingDue = (lab: TieringLab) =>
  lab.db.query(`update starcite.settings s set value = '10 years' where s.name = 'hot_retention'`)

const erase = async (lab: TieringLab, id: string) => {
  const { rows } = await lab.db.query(`select e.outcome from starcite.erase_session('default', $1) e`, [id])
  expect(rows[0].outcome).to.equal('erased')
}

async function expectGone(lab: TieringLab, id: string, sid: string): Promise<void> {
  expect(await residueOf(lab.db, lab.store, `<${id}>`)).to.deep.equal([])
  expect(await faultsOfChain(lab.db, lab.store, sid)).to.deep.equal([])
  const { rows } = await lab.db.query(
    `select (select count(*) from starcite.erasures e where e.state <> 'done')::int as pending,
            (select count(*) from starcite.superseded_objects)::int as superseded`,
  )
  expect(rows[0]).to.deep.equal({ pending: 0, superseded: 0 })
  const named = await lab.db.query<{ key: string }>('select o.key from starcite.objects o order by o.key')
  const stored: string[] = []
  for await (const { key } of lab.store.list('v1/')) stored.push(key)
  expect(stored.sort()).to.deep.equal(named.rows.map(({ key }) => key))
}

describe('erasing while something breaks', function () {
  this.timeout(120_000)
  let lab: TieringLab
  let server: S3Server | undefined
  let neighbour: string

  const open = async (store?: S3Store) => {
    lab = await TieringLab.open(store)
    neighbour = await lab.session('neighbour')
  }
  afterEach(async () => {
    await lab.close()
    await server?.stop()
    server = undefined
  })

  it('is killed (SIGKILL) at every step: another one goes on from there, and nothing is left', async () => {
    await open()
    const killedAt: string[] = []
    for (let nth = 1; ; nth += 1) {
      const id = `victim-${nth}`
      const sid = await victim(lab, id)
      const before = await lab.shown(neighbour)
      await erase(lab, id)
      const child = spawn(process.execPath, [...PROGRAM, lab.database.url, String(nth)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      let step = ''
      child.stdout.on('data', (chunk) => {
        step += chunk
      })
      const [code, signal] = await once(child, 'close')
      expect(await lab.shown(neighbour), step).to.deep.equal(before)
      if (signal === null) expect(code).to.equal(0)
      else {
        killedAt.push(step)
        await until('another has done the rest', async () => (await lab.job().pass()).ran)
      }
      await expectGone(lab, id, sid)
      expect(await lab.shown(neighbour), step).to.deep.equal(before)
      if (signal === null) break
    }
    expect(killedAt).to.deep.equal(['emptied', 'rewritten', 'replaced', 'deleted', 'swept', 'erased'])
  })

  it('has copies from moves that were cut, which no manifest names: they go too', async () => {
    await open()
    const sid = await lab.session('victim')
    await lab.append([
      ...Array.from({ length: EVENTS }, () => ({ session: 'victim', payload: '{"secret":"<victim>"}' })),
      ...someEvents([{ session: 'neighbour' }], EVENTS),
    ])
    const before = await lab.shown(neighbour)
    await lab
      .move({
        probe: (step) => {
          if (step === 'verified') throw new Error('cut: stored, and noted nowhere')
        },
      })
      .catch(() => {})
    await erase(lab, 'victim')

    await lab.move()

    await expectGone(lab, 'victim', sid)
    expect(await lab.shown(neighbour)).to.deep.equal(before)
  })

  it('meets a segment closed by a release that could not erase', async () => {
    await open()
    const sid = await lab.session('victim')
    await lab.append([{ session: 'victim', payload: '{"secret":"<victim>"}' }])
    await lab
      .move({
        probe: (step) => {
          if (step === 'closed') throw new Error('cut')
        },
      })
      .catch(() => {})
    const [segment] = (await lab.segments()).filter(({ state }) => state === 'closed')
    await lab.db.query(
      `alter table starcite.${segment?.name} drop constraint segment_is_closed,
         add constraint segment_is_closed check (false) not valid`,
    )
    await erase(lab, 'victim')

    await lab.move()

    await expectGone(lab, 'victim', sid)
  })

  it('runs on two nodes at once: one works, the other reports that', async () => {
    await open()
    const sid = await victim(lab, 'victim')
    await erase(lab, 'victim')
    const others: boolean[] = []

    await lab.move({
      probe: async () => {
        others.push((await lab.job().pass()).ran)
      },
    })

    expect(others).to.deep.equal(Array.from({ length: 6 }, () => false))
    await expectGone(lab, 'victim', sid)
  })

  it('may not delete: it stays pending and says why, readers see nothing, segments still move, and it ends later', async () => {
    server = await S3Server.start()
    await open(new S3Store(server.settings, HASTY))
    const sid = await victim(lab, 'victim')
    const before = await lab.shown(neighbour)
    await erase(lab, 'victim')
    server.fail(ACCESS_DENIED, { on: (request: S3Request) => request.method === 'DELETE' })
    await lab.makeAllDue()

    const failure = await lab.move().then(
      () => undefined,
      (error: Error) => error,
    )

    expect(failure).to.be.instanceOf(Error)
    expect((await lab.segments()).every(({ state }) => state === 'dropped')).to.equal(true)
    const { rows } = await lab.db.query('select e.state, e.last_error from starcite.erasures e')
    expect(rows[0].state).to.equal('pending')
    expect(rows[0].last_error).to.match(/^delete /)
    expect(await lab.follow(sid).ended.catch((error) => error.code)).to.equal('session_erased')
    expect(await lab.shown(neighbour)).to.deep.equal(before)
    server.heal()
    await lab.move()
    await expectGone(lab, 'victim', sid)
  })

  it('finds one object damaged: the others are done, and the damage is reported', async () => {
    await open()
    const sids = [await victim(lab, 'one'), await victim(lab, 'two')]
    const { rows } = await lab.db.query(`select o.key from starcite.objects o order by o.object_id limit 1`)
    await lab.db.query(
      `update starcite.archive_objects set body = set_byte(body, 40, get_byte(body, 40) # 1) where key = $1`,
      [rows[0].key],
    )
    for (const id of ['one', 'two']) await erase(lab, id)

    const failure = await lab.move().catch((error: Error) => error)

    expect(failure).to.have.property('name', 'DamagedObjectError')
    const { rows: erasures } = await lab.db.query(
      'select e.sid, e.state, e.last_error from starcite.erasures e order by e.sid',
    )
    expect(erasures.map((erasure) => [erasure.sid, erasure.state])).to.deep.equal([
      [sids[0], 'pending'],
      [sids[1], 'done'],
    ])
    expect(erasures[0].last_error).to.include(rows[0].key)
  })

  it('goes on under a tail that reads what is cold, slowly, and shows it the neighbour whole', async () => {
    await open()
    const sid = await victim(lab, 'victim')
    const before = await lab.tail(neighbour)
    const { rows } = await lab.db.query(`select o.key from starcite.objects o limit 1`)
    await erase(lab, 'victim')
    const shown: (readonly string[])[] = []

    await lab.move({
      // Readers come at every step: also where the old object is gone and they may have looked just before.
      probe: async () => {
        shown.push(...(await Promise.all([lab.tail(neighbour), lab.read(neighbour)])))
      },
    })

    for (const frames of shown) expect(frames).to.deep.equal(before)
    expect(
      (await lab.db.query('select from starcite.objects o where o.key = $1', [rows[0].key])).rows,
    ).to.deep.equal([])
    await expectGone(lab, 'victim', sid)
  })

  it('without a notification: a node does not show what it kept in memory to new readers, and drops it', async () => {
    await open()
    const sid = await victim(lab, 'victim')
    await lab.read(sid) // cold slices are in the cache now
    expect(lab.cold.cachedBytes).to.be.above(0)
    const last = 2 * EVENTS
    for (const seq of [3, last])
      await lab.db.query(`select starcite.redact_event('default', 'victim', $1)`, [seq])

    const subscription = lab.hub.register(sid, await findSession(lab.pool, 'default', 'victim'))
    const frames = await lab.read(sid)
    expect(
      frames.filter((text) => !text.includes('<victim>')).map((text) => JSON.parse(text).seq),
    ).to.deep.equal([3, last])
    await lab.cold.forgetStale()
    expect(lab.cold.cachedBytes).to.equal(0)
    await lab.move()
    expect(await lab.read(sid)).to.deep.equal(frames)
    await erase(lab, 'victim')
    await until('polling has told of the erasure', () => subscription.endReason === 'session_erased')
    subscription.close()
  })
})
