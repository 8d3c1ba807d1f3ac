import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { expect } from 'chai'
import pg from 'pg'
import { classify, type Failure, isUnavailable } from '../../src/db/failure.ts'
import { Db } from '../../src/db/pool.ts'
import { createLog } from '../../src/ops/log.ts'
import { bound } from '../support/slack.ts'
import { TcpProxy } from '../support/tcpProxy.ts'
import { timed, until } from '../support/until.ts'
import { useEach } from '../support/use.ts'
import { useConnection, useEmptyDatabase } from '../support/useNode.ts'

const TIMEOUT_MS = 400

describe('the pool', () => {
  const database = useEmptyDatabase()
  const client = useConnection(database)
  const proxy = useEach(() => TcpProxy.start(database))
  let db: Db

  beforeEach(async () => {
    db = open(proxy.url)
  })
  afterEach(async () => {
    await db.stop()
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
      (error: unknown) => error,
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
    ['22023', 'refused'], // the statement's, or its values' fault
    ['23514', 'refused'],
    ['42883', 'refused'],
    ['54001', 'refused'], // nested too deep
    ['54000', 'refused'], // an index entry that is too large; of the notification queue see test/e2e/notifyQueue
    ['0A000', 'refused'],
    ['P0001', 'refused'],
    ['XX000', 'refused'],
    ['40001', 'retry'], // undone, for others were at it
    ['40P01', 'retry'],
    ['72000', 'retry'],
    ['55P03', 'locked'],
    ['40003', 'unknown'],
    ['08006', 'unknown'],
    ['57014', 'unavailable'], // cancelled
    ['53100', 'unavailable'], // full
    ['53200', 'unavailable'],
    ['53300', 'unavailable'],
    ['53400', 'unavailable'],
    ['55000', 'unavailable'],
    ['55006', 'unavailable'],
    ['58000', 'unavailable'],
    ['58030', 'unavailable'],
    ['25006', 'unavailable'], // only reads
    ['25P02', 'unavailable'], // mixed up by a pooler
    ['26000', 'unavailable'],
    ['42P05', 'unavailable'],
  ] as const)
    it(`takes SQLSTATE ${code} for ${failure}`, async () => {
      expect(await failureOf(raise(code))).to.deep.equal({ failure, isUnavailable: failure !== 'refused' })
    })

  for (const [code, failure] of [
    ['57P01', 'unknown'], // shut down, with the statement under way
    ['57P02', 'unknown'],
    ['25P04', 'unknown'],
    ['08P01', 'unknown'],
    ['57P03', 'unavailable'], // not let in
    ['53300', 'unavailable'],
    ['28P01', 'unavailable'],
    ['3D000', 'unavailable'],
    ['57P05', 'retry'], // ended before it read the statement
    ['25P03', 'retry'],
  ] as const)
    it(`takes a connection that is ended with SQLSTATE ${code} for ${failure}`, () => {
      const error = new pg.DatabaseError('x', 1, 'error')
      Object.assign(error, { code, severity: 'FATAL' })

      expect({ failure: classify(error), isUnavailable: isUnavailable(error) }).to.deep.equal({
        failure,
        isUnavailable: true,
      })
    })

  it('cancels what takes longer than its time-out, and counts it as in use until it is over', async () => {
    const narrow = open(proxy.url, 1)
    const name = `pg_sleep(600), 'cancelled'`
    const runs = async () => {
      const { rows } = await client.query(
        `select from pg_catalog.pg_stat_activity a where a.state = 'active' and a.query = $1`,
        [`select ${name}`],
      )
      return rows.length > 0
    }
    const { value, ms } = await timed(failureOf(narrow.query({ text: `select ${name}` }, [])))
    expect(value).to.deep.equal({ failure: 'unknown', isUnavailable: true })
    expect(ms).to.be.below(bound(TIMEOUT_MS + 400))
    expect(narrow.size).to.include({ total: 1, idle: 0, givenUp: 1 })

    await narrow.ping() // on the one connection that there is
    expect(await runs()).to.equal(false)
    expect(narrow.size).to.include({ total: 1, idle: 1, givenUp: 0 })
    await narrow.stop()
  })

  it('gives up what it cannot even have cancelled, and has its place back', async () => {
    const narrow = open(proxy.url, 1)
    await narrow.ping()
    for (const fault of ['silence', 'refuse'] as const) {
      const query = failureOf(narrow.query({ text: 'select pg_sleep(1.5)' }, []))
      await until('it is under way', () => narrow.size.idle === 0 && narrow.size.total === 1)
      if (fault === 'silence') proxy.silence()
      await query
      if (fault === 'refuse') proxy.refuse()
      await until('nothing is given up any more', () => narrow.size.givenUp === 0)
      proxy.flow()
      await until('its place is free', () =>
        narrow.ping().then(
          () => true,
          () => false,
        ),
      )
    }
    await narrow.stop()
  })

  it('goes on without errors where idle_session_timeout ends idle connections', async () => {
    proxy.delayMs = 20 // so that statements are under way to a session that has just been ended
    const before = await pid()
    await db.query({ text: `set idle_session_timeout = '1ms'` }, [])

    await until('it was ended', async () => (await pid()) !== before)
  })

  it('prepares a statement again whose tables have changed', async () => {
    await client.query('create table public.changing (a int); insert into public.changing values (1)')
    const query = { name: 'changing', text: 'select * from public.changing' }
    await db.query(query, [])
    await client.query('alter table public.changing alter a type text; alter table public.changing add b int')

    expect(await db.query(query, [])).to.deep.equal([['1', null]])
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
      const query = timed(failureOf(db.query({ text: 'select pg_sleep(2)' }, [])))
      await until('it is under way', () => db.size.idle === 0)
      proxy[fault]()
      const { value, ms } = await query
      proxy.flow()

      expect(value, fault).to.deep.equal({ failure: 'unknown', isUnavailable: true })
      expect(ms).to.be.below(bound(TIMEOUT_MS + 400))
      expect(await pid()).to.be.above(0)
    }
  })

  it('knows that nothing was sent when no server listens, or the server does not answer', async () => {
    const unavailable = { failure: 'unavailable', isUnavailable: true }
    const nobody = open('postgres://u@127.0.0.1:1/d')
    expect(await failureOf(nobody.ping())).to.deep.equal(unavailable)
    await nobody.stop()

    proxy.silence()
    const { value, ms } = await timed(failureOf(db.ping()))
    expect(value).to.deep.equal(unavailable)
    expect(ms).to.be.below(bound(TIMEOUT_MS + 400))
  })

  it('knows that nothing was sent when a server falls silent, or hangs up, once it has let us in', async () => {
    const welcome = Buffer.concat([
      Buffer.from('520000000800000000', 'hex'), // AuthenticationOk
      Buffer.from('4b0000000c0000000100000002', 'hex'), // BackendKeyData
      Buffer.from('5a0000000549', 'hex'), // ReadyForQuery
    ])
    for (const hangsUp of [false, true]) {
      const server = createServer((socket) => {
        socket.once('data', () => {
          socket.write(welcome)
          socket.once('data', () => hangsUp && socket.destroy())
        })
        socket.on('error', () => {})
      }).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const pool = open(`postgres://u@127.0.0.1:${(server.address() as AddressInfo).port}/d?sslmode=disable`)

      const { value, ms } = await timed(failureOf(pool.ping()))

      expect(value).to.deep.equal({ failure: 'unavailable', isUnavailable: true })
      expect(ms).to.be.below(bound(TIMEOUT_MS + 400))
      await pool.stop()
      server.close()
    }
  })
  it('knows that nothing was sent when a caller found no free connection in time', async () => {
    await until('both connections are open', () =>
      Promise.all([pid(), pid()]).then(
        () => true,
        () => false,
      ),
    )
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
