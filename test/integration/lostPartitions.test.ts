import { expect } from 'chai'
import type { Service } from '../../src/service.ts'
import { appendEvents, briefly } from '../support/appendEvents.ts'
import { call } from '../support/client.ts'
import { startNode } from '../support/node.ts'
import { connect } from '../support/template.ts'
import { someEvents, TieringLab } from '../support/tiering.ts'
import { useEach } from '../support/use.ts'

/** The node's own job stays out of it. */
const EVENT = { type: 't', payload: {}, actor: 'user:u' }
const NO_JOB = { STARCITE_ARCHIVE_FLUSH_INTERVAL_MS: '86400000' }

/** What a DBA does to the partition of now. */
const LOSSES: Readonly<Record<string, (name: string) => readonly string[]>> = {
  'is dropped': (name) => [`drop table starcite."${name}"`],
  'is detached': (name) => [`alter table starcite.events detach partition starcite."${name}"`],
  'is detached, and its table dropped': (name) => [
    `alter table starcite.events detach partition starcite."${name}"`,
    `drop table starcite."${name}"`,
  ],
}

describe('a partition that an operator drops or detaches', () => {
  const lab = useEach(() => TieringLab.open())
  let node: Service | undefined

  beforeEach(async () => {
    await lab.session('one')
    await lab.session('two')
  })
  afterEach(async () => {
    await node?.stop()
    node = undefined
  })

  const partition = async (): Promise<string> =>
    (
      await lab.db.query(
        `select g.name from starcite.segments g where tstzrange(g.from_at, g.to_at) @> clock_timestamp()`,
      )
    ).rows[0].name

  for (const [title, statements] of Object.entries(LOSSES))
    it(`${title}: the next append goes through`, async () => {
      node = await startNode(lab.database, NO_JOB)
      const { url } = node
      await call('POST', `${url}/v1/sessions/one/append`, EVENT)
      for (const statement of statements(await partition())) await lab.db.query(statement)

      const answers = await Promise.all(
        ['two', 'two', 'two'].map((session) => call('POST', `${url}/v1/sessions/${session}/append`, EVENT)),
      )

      expect(answers.map(({ status }) => status)).to.deep.equal([201, 201, 201])
      expect((await lab.segments()).every(({ attached }) => attached)).to.equal(true)
      if (title === 'is detached')
        expect((await call('GET', `${url}/v1/sessions/one/events`)).json.events).to.have.lengthOf(1)
    })

  it('has its detach begun: the next append goes through, and nothing is lost', async () => {
    node = await startNode(lab.database, NO_JOB)
    const { url } = node
    await call('POST', `${url}/v1/sessions/one/append`, EVENT)
    const [reader, dba] = await Promise.all([connect(lab.database), connect(lab.database)])
    await reader.query('begin')
    await reader.query('lock table only starcite.events in access share mode')
    await dba.query(`set lock_timeout = '50ms'`)
    const refusal = await dba
      .query(`alter table starcite.events detach partition starcite."${await partition()}" concurrently`)
      .catch((error: Error) => error)
    expect(refusal).to.be.instanceOf(Error)
    await reader.query('commit')
    await Promise.all([reader.end(), dba.end()])

    const { status } = await call('POST', `${url}/v1/sessions/one/append`, EVENT)

    expect(status).to.equal(201)
    expect((await call('GET', `${url}/v1/sessions/one/events`)).json.events).to.have.lengthOf(2)
  })

  it('has lost its row of segments: appends go on, and it gets the row back', async () => {
    await lab.append([{ session: 'one' }])
    const before = await lab.segments()
    await lab.db.query('delete from starcite.segments')

    expect(briefly(await appendEvents(lab.db, [{ session: 'one' }]))).to.deep.equal(['appended 2'])

    expect(await lab.segments()).to.deep.equal(before)
  })

  it('does not stop tiering: what is left moves, and the sessions that lost events are set aside', async () => {
    const events = (count: number) =>
      someEvents([{ session: 'one' }, { session: 'two' }], count).map(({ producer, ...event }) => event)
    const next = () =>
      lab.db.query(
        `update starcite.settings s set value = (select max(g.to_at)::text from starcite.segments g) where s.name = 'closed_before'`,
      )
    await lab.append(events(5))
    await next()
    await lab.append(events(5).filter(({ session }) => session === 'one'))
    const lost = (await lab.segments()).at(-1)?.name
    await next()
    await lab.append(events(5))
    const two = await lab.db.query(`select s.sid from starcite.sessions s where s.id = 'two'`)
    const before = await lab.shown(two.rows[0].sid)
    await lab.db.query(`drop table starcite."${lost}"`)

    await lab.move()

    const { rows } = await lab.db.query('select a.session, a.seq::int, a.reason from audit.set_aside a')
    expect(rows).to.deep.equal([{ session: 'one', seq: 6, reason: 'missing' }])
    expect((await lab.segments()).map(({ state }) => state)).to.deep.equal(['dropped', 'dropped', 'dropped'])
    expect(await lab.shown(two.rows[0].sid)).to.deep.equal(before)
    expect(await lab.count('events')).to.equal(5)
  })

  it('is made again for a row that is put back, in a segment that has moved', async () => {
    await lab.append(someEvents([{ session: 'one' }], 5).map(({ producer, ...event }) => event))
    await lab.db.query('create table public.saved as select e.* from starcite.events e where e.seq = 5')
    await lab.db.query('delete from starcite.events e where e.seq = 5')
    await lab.move() // the log merely ends early, which only its head knows
    await lab.append([{ session: 'one' }])
    await lab.move()
    const findings = 'select a.seq::int, a.reason, a.state from audit.set_aside a'
    expect((await lab.db.query(findings)).rows).to.deep.equal([
      { seq: 5, reason: 'missing', state: 'set_aside' },
    ])

    await lab.db.query('select starcite.reopen_segment(s.inserted_at) from public.saved s')
    await lab.db.query('insert into starcite.events select s.* from public.saved s')
    await lab.move()

    expect((await lab.db.query(findings)).rows).to.deep.equal([
      { seq: 5, reason: 'missing', state: 'mended' },
    ])
    expect(await lab.count('events')).to.equal(0)
    expect((await lab.segments()).every(({ state, attached }) => state === 'dropped' && !attached)).to.equal(
      true,
    )
    expect(
      await lab.read(
        (await lab.db.query('select s.sid from starcite.sessions s where s.id = $1', ['one'])).rows[0].sid,
      ),
    ).to.have.lengthOf(6)
  })
})
