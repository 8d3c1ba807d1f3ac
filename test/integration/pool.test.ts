import { expect } from 'chai'
import type pg from 'pg'
import { classify, Db, type Failure, isUnavailable } from '../../src/db/pool.ts'
import { createLog } from '../../src/ops/log.ts'
import { type FreshDatabase, freshDatabase } from '../support/postgres.ts'
import { TcpProxy } from '../support/tcpProxy.ts'
import { connect } from '../support/template.ts'
import { timed, until } from '../support/until.ts'

const TIMEOUT_MS = 400

describe('the pool', () => {
  let database: FreshDatabase
  let client: pg.Client
  let proxy: TcpProxy
  let db: Db

  before(async () => {
    database = await freshDatabase()
    client = await connect(database)
  })
  after(async () => {
    await client.end()
    await database.drop()
  })
  beforeEach(async () => {
    proxy = await TcpProxy.start(database)
    db = open(proxy.url)
  })
  afterEach(async () => {
    await db.stop()
    await proxy.stop()
  })

  const open = (url: string, size = 2) =>
    new Db({
      url,
      size,
      applicationName: 'pool test',
      timeoutMs: TIMEOUT_MS,
      preparedStatements: true,
      log: createLog('silent'),
    })

  const failureOf = async (work: Promise<unknown>): Promise<{ failure: Failure; isUnavailable: boolean }> => {
    const error = await work.then(
      () => expect.fail('it should have failed'),
      (it: unknown) => it,
    )
    return { failure: classify(error), isUnavailable: isUnavailable(error) }
  }

  const pid = async () => Number((await db.query({ text: 'select pg_backend_pid()' }, []))[0]?.[0])
  const raise = (code: string) =>
    db.query({ text: `do $$ begin raise exception 'x' using errcode = '${code}'; end $$` }, [])

  it('hands out every value as text, to the letter', async () => {
    const sql = `select 9223372036854775807::bigint, '{"a":  1.0}'::json, null, true, array[1, 2], 1.50::numeric`

    const [row] = await db.query({ text: sql }, [])

    expect(row).to.deep.equal(['9223372036854775807', '{"a":  1.0}', null, 't', '{1,2}', '1.50'])
  })

  it('keeps its connection over a refused statement', async () => {
    const before = await pid()
    for (const code of ['22023', '23505', '40001', '40P01', '55P03']) await raise(code).catch(() => {})

    expect(await pid()).to.equal(before)
  })

  for (const [code, failure] of [
    ['22023', 'refused'],
    ['23514', 'refused'],
    ['P0001', 'refused'],
    ['40001', 'retry'],
    ['40P01', 'retry'],
    ['55P03', 'locked'],
    ['57014', 'unavailable'],
    ['53100', 'unavailable'],
    ['25006', 'unavailable'],
  ] as const)
    it(`takes SQLSTATE ${code} for ${failure}`, async () => {
      expect(await failureOf(raise(code))).to.deep.equal({ failure, isUnavailable: failure !== 'refused' })
    })

  it('leaves a server that only reads, to look for the primary again', async () => {
    const before = await pid()
    await raise('25006').catch(() => {})

    expect(await pid()).not.to.equal(before)
  })

  it('does not know the outcome when its backend is terminated, and connects again', async () => {
    const sleeping = failureOf(db.query({ text: 'select pg_sleep(5)' }, []))
    await until('it runs', async () => {
      const { rowCount } = await client.query(
        `select pg_terminate_backend(a.pid) from pg_catalog.pg_stat_activity a
          where a.datname = current_database() and a.query = 'select pg_sleep(5)' and a.state = 'active'
            and a.pid <> pg_backend_pid()`,
      )
      return rowCount === 1
    })

    expect(await sleeping).to.deep.equal({ failure: 'unknown', isUnavailable: true })
    expect(await pid()).to.be.above(0)
  })

  it('does not know the outcome when the link is cut or silent, within its time-out', async () => {
    for (const fault of ['cut', 'silence'] as const) {
      await pid()
      const query = timed(failureOf(db.query({ text: 'select pg_sleep(0.2)' }, [])))
      await until('it is under way', () => db.size.idle === 0)
      proxy[fault]()
      const { value, ms } = await query
      proxy.flow()

      expect(value, fault).to.deep.equal({ failure: 'unknown', isUnavailable: true })
      expect(ms).to.be.below(TIMEOUT_MS + 400)
      expect(await pid()).to.be.above(0)
    }
  })

  it('knows that nothing was sent when nobody is there, or nobody answers', async () => {
    const unavailable = { failure: 'unavailable', isUnavailable: true }
    const nobody = open('postgres://u@127.0.0.1:1/d')
    expect(await failureOf(nobody.ping())).to.deep.equal(unavailable)
    await nobody.stop()

    proxy.silence()
    const { value, ms } = await timed(failureOf(db.ping()))
    expect(value).to.deep.equal(unavailable)
    expect(ms).to.be.below(TIMEOUT_MS + 400)
  })

  it('knows that nothing was sent when a caller found no free connection in time', async () => {
    const busy = [1, 2].map(() => db.query({ text: 'select pg_sleep(0.3)' }, []))
    const waiting = Array.from({ length: 4 }, () => timed(db.ping().then(() => 'served')))
    await Promise.all(busy)
    expect((await Promise.all(waiting)).map(({ value }) => value)).to.deep.equal(Array(4).fill('served'))

    const narrow = open(proxy.url, 1)
    const hog = narrow.query({ text: `select pg_sleep(${TIMEOUT_MS / 1000 - 0.05})` }, [])
    const next = Array.from({ length: 2 }, () =>
      narrow.query({ text: `select pg_sleep(${TIMEOUT_MS / 1000 - 0.05})` }, []),
    )
    const outcome = await failureOf(Promise.all(next))
    expect(outcome).to.deep.equal({ failure: 'unavailable', isUnavailable: true })
    await Promise.allSettled([hog, ...next])
    await narrow.stop()
  })

  it('survives that its idle connections are terminated', async () => {
    await Promise.all([pid(), pid()])
    await client.query(
      `select pg_terminate_backend(a.pid) from pg_catalog.pg_stat_activity a
        where a.datname = current_database() and a.application_name = 'pool test'`,
    )
    await until('it noticed', () => db.size.total === 0)

    expect(await pid()).to.be.above(0)
  })

  it('stops after the queries under way, and refuses what comes then', async () => {
    const running = db.query({ text: 'select pg_sleep(0.1), 7' }, [])
    const stopping = db.stop()

    expect((await running)[0]?.[1]).to.equal('7')
    await stopping
    expect(await db.ping().catch(() => 'refused')).to.equal('refused')
    db = open(proxy.url)
  })
})
