import { expect } from 'chai'
import { Db } from '../../src/db/pool.ts'
import { HEADS_CHANNEL, Listener } from '../../src/live/listener.ts'
import { createLog } from '../../src/ops/log.ts'
import { LogLines } from '../support/logLines.ts'
import { bound } from '../support/slack.ts'
import { TcpProxy } from '../support/tcpProxy.ts'
import { connect } from '../support/template.ts'
import { timed, until } from '../support/until.ts'
import { useConnection, useEmptyDatabase } from '../support/useNode.ts'

describe('the listener', () => {
  const database = useEmptyDatabase()
  const db = useConnection(database)
  let notifier: Db

  before(async () => {
    notifier = new Db({
      url: database.url,
      size: 2,
      applicationName: 'listener test',
      timeoutMs: 5000,
      preparedStatements: true,
      log: createLog('silent'),
    })
  })
  after(async () => {
    await notifier.stop()
  })

  /** One listener, behind a proxy of its own, on a name of its own among the server's backends. */
  async function behindProxy(checkIntervalMs?: number, log = createLog('silent')) {
    const proxy = await TcpProxy.start(database)
    const seen: string[] = []
    let [ups, downs] = [0, 0]
    const name = `starcite listener ${Math.random()}`
    const listener = new Listener({
      url: `${proxy.url}?application_name=${encodeURIComponent(name)}`,
      log,
      notify: (channel, payload) => notifier.query({ text: 'select pg_notify($1, $2)' }, [channel, payload]),
      ...(checkIntervalMs && { checkIntervalMs }),
      onHead: (sid, lastSeq) => seen.push(`${sid}:${lastSeq}`),
      onFeeds: (keys) => seen.push(...keys),
      onConnected: () => {
        ups += 1
      },
      onDisconnected: () => {
        downs += 1
      },
    })
    return {
      proxy,
      listener,
      seen,
      counts: () => ({ ups, downs }),
      connected: (times: number) => until(`connected ${times} times`, () => ups === times),
      backends: async () => {
        const { rows } = await db.query<{ pid: number }>(
          'select a.pid from pg_catalog.pg_stat_activity a where a.application_name = $1',
          [name],
        )
        return rows.map(({ pid }) => pid)
      },
      end: async () => {
        await listener.stop()
        await proxy.stop()
      },
    }
  }

  const notify = (payload: string) => db.query('select pg_notify($1, $2)', [HEADS_CHANNEL, payload])

  it('tells every head of a notification, and passes over what is no list of heads', async () => {
    const part = await behindProxy()
    part.listener.start()
    await part.connected(1)

    const bad = ['', 'x', '7', 'null', '{}', '[1]', '[[]]', '[[1]]', '[[1,{}]]', '[[1,"2"]]', '[[1,1e300]]']
    for (const payload of bad) await notify(payload)
    await notify('[[1,2],[5,6]]')
    await until('the last has arrived', () => part.seen.includes('5:6'))

    expect(part.seen).to.deep.equal(['1:2', '5:6'])
    expect(part.counts()).to.deep.equal({ ups: 1, downs: 0 })
    expect(part.listener.downForMs).to.equal(0)
    await part.end()
  })

  it('comes back after each cut and each terminated backend, and leaves none behind', async () => {
    const part = await behindProxy()
    part.listener.start()
    await part.connected(1)

    for (let round = 1; round <= 8; round += 1) {
      const before = await part.backends()
      expect(before).to.have.lengthOf(1)
      if (round % 2 === 0) part.proxy.cut()
      else await db.query('select pg_terminate_backend($1)', before)
      await part.connected(round + 1)
      await until(
        'the old backend is gone',
        async () => !(await part.backends()).includes(before[0] as number),
      )
    }
    await notify('[[1,1]]')
    await until('it listens', () => part.seen.length === 1)

    expect(await part.backends()).to.have.lengthOf(1)
    expect(part.counts()).to.deep.equal({ ups: 9, downs: 8 })
    await part.end()
    await until('no backend is left', async () => (await part.backends()).length === 0)
  })

  it('is not up before a notification of another connection has arrived, and says what to set', async () => {
    const lines = new LogLines()
    const part = await behindProxy(300, lines.log)
    const { query } = notifier
    notifier.query = async () => [] // it goes to another database, say
    part.listener.start()
    await until('it logs that', () => lines.text.includes('ProbeTimeoutError'))
    expect(lines.text).to.include('set STARCITE_LISTEN_URL')
    expect(part.counts()).to.deep.equal({ ups: 0, downs: 0 })

    notifier.query = query
    await part.connected(1)
    await part.end()
  })

  it('is not cut where idle sessions are', async () => {
    await db.query(`alter database ${database.name} set idle_session_timeout = '100ms'`)
    const part = await behindProxy()
    part.listener.start()
    await part.connected(1)
    const idle = await connect(database)
    const ended = new Promise<void>((resolve) => idle.once('end', resolve))

    await ended // an idle session that came after it

    await notify('[[1,1]]')
    await until('it has arrived', () => part.seen.length === 1)
    expect(part.counts()).to.deep.equal({ ups: 1, downs: 0 })
    await part.end()
    await db.query(`alter database ${database.name} reset idle_session_timeout`)
  })

  for (const direction of ['silent', 'silent towards the client'] as const)
    it(`notices within two checks that its link has gone ${direction}, and comes back`, async () => {
      const part = await behindProxy(300)
      part.listener.start()
      await part.connected(1)

      part.proxy.silence(direction)
      const { ms } = await timed(until('it is down', () => part.listener.downForMs > 0))
      part.proxy.flow()
      await part.connected(2)
      await notify('[[1,1]]')
      await until('it listens', () => part.seen.length === 1)

      expect(ms).to.be.within(250, bound(1500))
      if (direction === 'silent towards the client')
        await until('only the new backend is left', async () => (await part.backends()).length === 1)
      await part.end()
    })

  it('stops at once while it waits to connect again, and in the middle of connecting', async () => {
    for (const fault of ['cut', 'silence'] as const) {
      const part = await behindProxy()
      part.proxy.delayMs = 30
      if (fault === 'silence') part.proxy.silence()
      part.listener.start()
      await until('it is connecting', () => part.proxy.links === 1)
      if (fault === 'cut') part.proxy.cut()

      const { ms } = await timed(part.listener.stop())

      expect(ms, fault).to.be.below(bound(3000))
      expect(part.counts().ups).to.equal(0)
      await part.proxy.stop()
      await until('no backend is left', async () => (await part.backends()).length === 0)
    }
  })

  it('stops at once on a link that has fallen silent', async () => {
    const part = await behindProxy()
    part.listener.start()
    await part.connected(1)
    part.proxy.silence()

    const { ms } = await timed(part.listener.stop())

    expect(ms).to.be.below(bound(3000))
    await part.proxy.stop()
    await until('no backend is left', async () => (await part.backends()).length === 0)
  })

  it('stops at any moment of its start, twice, and when it was never started', async () => {
    const neverStarted = await behindProxy()
    await neverStarted.end()

    const parts = await Promise.all(Array.from({ length: 12 }, () => behindProxy()))
    await Promise.all(
      parts.map(async ({ listener }, i) => {
        listener.start()
        const from = performance.now()
        await until('its moment', () => performance.now() - from >= i * 4)
        await Promise.all([listener.stop(), listener.stop()])
      }),
    )

    for (const part of parts) {
      await until('no backend is left', async () => (await part.backends()).length === 0)
      const { ups, downs } = part.counts()
      expect(ups).to.equal(downs)
      await part.proxy.stop()
    }
  })
})
