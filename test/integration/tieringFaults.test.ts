import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect } from 'chai'
import { migrate } from '../../src/db/migrate.ts'
import { S3Store } from '../../src/objects/s3Store.ts'
import { createLog } from '../../src/ops/log.ts'
import type { Step } from '../../src/tiering/step.ts'
import { EmbeddedPostgresLab } from '../support/embeddedPostgres.ts'
import { programOf } from '../support/programs.ts'
import {
  ACCESS_DENIED,
  INTERNAL_ERROR,
  type S3Fault,
  type S3Request,
  S3Server,
  SLOW_DOWN,
} from '../support/s3Server.ts'
import { connect } from '../support/template.ts'
import { HASTY, someEvents, TieringLab } from '../support/tiering.ts'
import { until } from '../support/until.ts'

const SESSIONS = [
  { session: 'a', tenant: 'one' },
  { session: 'b', tenant: 'two' },
]
const EVENTS = 60
const PROGRAM = programOf('test/support/tieringProgram.ts')

/** Checks the state after a fault: no event lost, none stored twice, no step half done. */
async function expectWhole(
  lab: TieringLab,
  sids: readonly string[],
  before: readonly object[],
): Promise<void> {
  for (const [i, sid] of sids.entries()) expect(await lab.shown(sid)).to.deep.equal(before[i])
  const { rows } = await lab.db.query(
    `select (select count(*) from starcite.events)::int as hot,
            (select coalesce(sum(s.last_seq - s.first_seq + 1), 0) from starcite.slices s)::int as cold,
            (select coalesce(sum(o.events), 0) from starcite.objects o)::int as noted,
            (select coalesce(sum(h.last_seq), 0) from starcite.session_heads h)::int as events,
            (select count(*) from starcite.segments g where g.state <> 'dropped')::int as left_over,
            (select count(*) from pg_catalog.pg_class c where c.relnamespace = 'starcite'::regnamespace
                and c.relname ~ '^events_\\d{8}t\\d{6}(_\\d+)?$')::int as tables`,
  )
  const { events } = rows[0]
  expect(rows[0]).to.deep.equal({ hot: 0, cold: events, noted: events, events, left_over: 0, tables: 0 })
}

async function filled(lab: TieringLab): Promise<{ sids: string[]; before: object[] }> {
  const sids = []
  for (const { session, tenant } of SESSIONS) sids.push(await lab.session(session, tenant))
  return { sids, before: await more(lab, sids) }
}

let round = 0
/** Another segment's worth of events. */
async function more(lab: TieringLab, sids: readonly string[]): Promise<object[]> {
  round += 1
  await lab.append(
    someEvents(SESSIONS, EVENTS).map((event) => ({
      ...event,
      ...(event.producer && { producer: [`p${round}`, event.producer[1]] as const }),
    })),
  )
  return Promise.all(sids.map((sid) => lab.shown(sid)))
}

describe('moving segments while something breaks', function () {
  this.timeout(120_000)

  describe('the object store', () => {
    const isPut = (request: S3Request) => request.method === 'PUT'
    const isGet = (request: S3Request) => request.method === 'GET'
    const isHead = (request: S3Request) => request.method === 'HEAD'
    const faults: readonly {
      title: string
      arrange: (server: S3Server) => unknown
      outcome: 'fails' | 'goes on'
    }[] = [
      { title: 'is down', arrange: (server) => server.goDown(), outcome: 'fails' },
      { title: 'is slow', arrange: (server) => server.fail({ kind: 'slow', ms: 60 }), outcome: 'goes on' },
      { title: 'never answers', arrange: (server) => server.fail({ kind: 'silent' }), outcome: 'fails' },
      { title: 'answers 500', arrange: (server) => server.fail(INTERNAL_ERROR), outcome: 'fails' },
      {
        title: 'answers 500 once',
        arrange: (server) => server.fail(INTERNAL_ERROR, { times: 1 }),
        outcome: 'goes on',
      },
      { title: 'answers 503 SlowDown', arrange: (server) => server.fail(SLOW_DOWN), outcome: 'fails' },
      {
        title: 'answers 503 SlowDown to a PUT, twice',
        arrange: (server) => server.fail(SLOW_DOWN, { times: 2, on: isPut }),
        outcome: 'goes on',
      },
      { title: 'answers 403', arrange: (server) => server.fail(ACCESS_DENIED), outcome: 'fails' },
      {
        title: 'answers 403 to reading only',
        arrange: (server) => server.fail(ACCESS_DENIED, { on: isGet }),
        outcome: 'fails',
      },
      ...(['cut body', 'short body', 'stalled body', 'flipped bit'] as const).map((kind) => ({
        title: `reads back with a ${kind}`,
        arrange: (server: S3Server) => server.fail({ kind } as S3Fault, { on: isGet }),
        outcome: 'fails' as const,
      })),
      {
        title: 'takes a PUT and its answer is lost',
        arrange: (server) => server.fail({ kind: 'lost answer' }, { times: 1, on: isPut }),
        outcome: 'goes on',
      },
      {
        title: 'answers 412 to our own PUT, tried again',
        arrange: (server) => {
          server.fail(ACCESS_DENIED, { on: isHead })
          server.fail({ kind: 'lost answer' }, { times: 1, on: isPut })
        },
        outcome: 'goes on',
      },
    ]
    for (const { title, arrange, outcome } of faults)
      it(`${title}: the move ${outcome}, readers see no error, and it is done later`, async () => {
        const server = await S3Server.start()
        const lab = await TieringLab.open(new S3Store(server.settings, HASTY))
        const { sids, before } = await filled(lab)
        await arrange(server)

        const failure = await lab.move().then(
          () => undefined,
          (error: Error) => error,
        )

        if (outcome === 'fails') {
          expect(failure).to.be.instanceOf(Error)
          for (const [i, sid] of sids.entries()) expect(await lab.shown(sid)).to.deep.equal(before[i])
          expect(await lab.count('events')).to.equal(SESSIONS.length * EVENTS)
          before.splice(0, 2, ...(await more(lab, sids)))
        } else expect(failure).to.equal(undefined)
        await server.comeUp().catch(() => {})
        server.heal()
        await lab.move()
        await expectWhole(lab, sids, before)
        await lab.close()
        await server.stop()
      })

    it('is away for a while: the job tries again by itself until it is done, and the lag shows it', async () => {
      const server = await S3Server.start()
      const lab = await TieringLab.open(new S3Store(server.settings, HASTY))
      const { sids, before } = await filled(lab)
      await server.goDown()
      const job = lab.job()

      job.start()
      await until('a pass has failed', async () =>
        /failures_total [1-9]/.test(await lab.metrics.registry.metrics()),
      )
      expect(job.status.lagSeconds).to.be.above(0)
      await server.comeUp()
      await until('all is moved', async () =>
        (await lab.segments()).every(({ state }) => state === 'dropped'),
      )

      await expectWhole(lab, sids, before)
      await until('the lag is gone', () => job.status.lagSeconds === 0)
      await lab.close()
      await server.stop()
    })

    it('is silent while the job is stopped: it stops at once', async () => {
      const server = await S3Server.start()
      const lab = await TieringLab.open(new S3Store(server.settings))
      const { sids, before } = await filled(lab)
      server.fail({ kind: 'silent' })
      const job = lab.job()
      job.start()
      await until('it is writing', () => server.requests.length > 0)

      const started = performance.now()
      await job.stop()
      expect(performance.now() - started).to.be.below(10_000) // one attempt alone has twice that

      server.heal()
      await until('the lock is free', () =>
        lab.move().then(
          () => true,
          () => false,
        ),
      )
      await expectWhole(lab, sids, before)
      await lab.close()
      await server.stop()
    })
  })

  describe('the job', () => {
    let lab: TieringLab
    let sids: string[]
    let before: object[]

    beforeEach(async () => {
      lab = await TieringLab.open()
      ;({ sids, before } = await filled(lab))
    })
    afterEach(() => lab.close())

    /** Ends, on the server, the connection that holds the lock. */
    const cutJob = () =>
      lab.db.query(
        `select pg_terminate_backend(a.pid, 5000) from pg_catalog.pg_stat_activity a
          where a.datname = current_database() and a.application_name = 'starcite tiering'`,
      )

    it('is killed (SIGKILL) at every step: another one goes on from there', async () => {
      const killedAt: string[] = []
      for (let nth = 1; ; nth += 1) {
        const child = spawn(process.execPath, [...PROGRAM, lab.database.url, String(nth)], {
          stdio: ['ignore', 'pipe', 'inherit'],
        })
        let step = ''
        child.stdout.on('data', (chunk) => {
          step += chunk
        })
        const [code, signal] = await once(child, 'close')
        for (const [i, sid] of sids.entries()) expect(await lab.shown(sid), step).to.deep.equal(before[i])
        if (signal === null) {
          expect(code).to.equal(0)
          break
        }
        killedAt.push(step)

        await until('another has moved the rest', async () => (await lab.job().pass()).ran)

        await expectWhole(lab, sids, before)
        before = await more(lab, sids)
      }
      // Two objects are written at a time, so how often each of their steps is met varies.
      expect(new Set(killedAt)).to.deep.equal(
        new Set(['closed', 'stored', 'verified', 'recorded', 'copied', 'switched', 'detached', 'dropped']),
      )
      await expectWhole(lab, sids, before)
    })

    it('has one lock: of two at once one works, and the other reports that', async () => {
      const others: boolean[] = []

      await lab.move({
        probe: async () => {
          others.push((await lab.job().pass()).ran)
        },
      })

      expect(others).to.have.lengthOf.above(7)
      expect(others).to.not.include(true)
      await expectWhole(lab, sids, before)
    })

    for (const step of [
      'closed',
      'stored',
      'verified',
      'recorded',
      'copied',
      'switched',
      'detached',
      'dropped',
    ] as const)
      it(`loses its connection at '${step}' and another takes over: what the first one still does changes nothing`, async () => {
        let isOver = false
        const first = lab.job({
          probe: async (reached: Step) => {
            if (reached !== step || isOver) return
            isOver = true
            await cutJob()
            await lab.move()
            await expectWhole(lab, sids, before)
          },
        })

        const outcome = await first.pass().catch((error: Error) => error)

        expect(isOver).to.equal(true)
        expect(outcome).to.be.instanceOf(Error)
        await expectWhole(lab, sids, before)
      })

    it('is cut while it detaches: the pending detach is finished by the next', async () => {
      const reader = await connect(lab.database)
      await reader.query('begin')
      await reader.query('lock table only starcite.events in access share mode')
      const first = lab
        .job()
        .pass()
        .catch((error: Error) => error)
      await until('the detach is pending', async () => {
        const { rows } = await lab.db.query('select from pg_catalog.pg_inherits i where i.inhdetachpending')
        return rows.length > 0
      })
      for (const [i, sid] of sids.entries()) expect(await lab.shown(sid)).to.deep.equal(before[i])
      await cutJob()
      expect(await first).to.be.instanceOf(Error)
      await reader.query('commit')
      await reader.end()

      await lab.move()

      await expectWhole(lab, sids, before)
    })

    it('cannot take a partition away while a transaction goes on for long: newer segments move all the same', async () => {
      const cut = lab.job({ probe: (step) => step === 'switched' && cutJob() })
      expect(await cut.pass().catch((error: Error) => error)).to.be.instanceOf(Error)
      await markDetachPending(lab)
      const reader = await connect(lab.database)
      await reader.query('begin isolation level repeatable read')
      await reader.query('select 1')
      before = await more(lab, sids)

      const failure = await lab.move().catch((error: Error) => error)

      expect(failure).to.be.instanceOf(Error).with.property('message').that.includes('lock timeout')
      expect((await lab.segments()).map(({ state }) => state)).to.deep.equal(['moved', 'moved'])
      expect(await lab.count('events')).to.equal(0)
      for (const [i, sid] of sids.entries()) expect(await lab.shown(sid)).to.deep.equal(before[i])
      await reader.query('commit')
      await reader.end()
      await lab.move()
      await expectWhole(lab, sids, before)
    })

    /** Leaves the oldest partition as an interrupted detach does. */
    async function markDetachPending({ db, database }: TieringLab): Promise<void> {
      const [{ name }] = (await db.query('select g.name from starcite.segments g order by g.from_at limit 1'))
        .rows
      const [blocker, detacher] = await Promise.all([connect(database), connect(database)])
      await blocker.query('begin')
      await blocker.query('lock table only starcite.events in access share mode')
      await detacher.query(`set lock_timeout = '50ms'`)
      const refusal = await detacher
        .query(`alter table starcite.events detach partition starcite."${name}" concurrently`)
        .catch((error: Error) => error)
      expect(refusal).to.be.instanceOf(Error)
      await blocker.query('commit')
      await Promise.all([blocker.end(), detacher.end()])
    }

    it('finds events gone from the hot tables after they were copied and verified: the copies count', async () => {
      const name = (await lab.segments())[0]?.name

      await lab.move({
        probe: (step) =>
          step === 'copied' && lab.db.query(`delete from starcite."${name}" e where e.seq = 30`),
      })

      await expectWhole(lab, sids, before)
    })

    it('never drops a partition that has events, wherever they come from', async () => {
      const name = (await lab.segments())[0]?.name
      await lab.db.query('create table public.saved as select e.* from starcite.events e limit 1')
      const job = lab.job({
        probe: (step) =>
          step === 'switched' &&
          lab.db.query(`alter table starcite."${name}" drop constraint segment_is_closed;
                        insert into starcite.events select s.* from public.saved s`),
      })

      const failure = await job.pass().catch((error: Error) => error)

      expect(failure).to.be.instanceOf(Error).with.property('message').that.includes('has events')
      const { rows } = await lab.db.query(`select count(*)::int as n from starcite."${name}"`)
      expect(rows[0].n).to.equal(1)
    })
  })

  it('Postgres is restarted at a step: the job fails, and the next one goes on from there', async () => {
    const place = await EmbeddedPostgresLab.open()
    let server = await place.start()
    const { port, url } = server
    await migrate(url, '0.0.0-test', createLog('silent'))
    const database = { url, name: 'postgres', drop: async () => {} }
    let lab = await TieringLab.open(undefined, database)
    const { sids, before: atFirst } = await filled(lab)
    let before = atFirst

    for (const step of ['closed', 'stored', 'recorded', 'copied', 'switched', 'detached'] as const) {
      let isOver = false
      const job = lab.job({
        probe: async (reached) => {
          if (reached !== step || isOver) return
          isOver = true
          await server.stop()
          server = await place.start({ port })
        },
      })
      expect(await job.pass().catch((error: Error) => error), step).to.be.instanceOf(Error)
      await lab.close()
      lab = await TieringLab.open(undefined, database)
      for (const [i, sid] of sids.entries()) expect(await lab.shown(sid), step).to.deep.equal(before[i])

      await lab.move()

      await expectWhole(lab, sids, before)
      before = await more(lab, sids)
    }
    await lab.close()
    await place.end()
  })
})
