import { generateKeyPairSync } from 'node:crypto'
import { expect } from 'chai'
import type { Service } from '../../src/service.ts'
import { call } from '../support/client.ts'
import { startNode } from '../support/node.ts'
import { ResumingTail } from '../support/resumingTail.ts'
import { TcpProxy } from '../support/tcpProxy.ts'
import { until } from '../support/until.ts'
import { useEach } from '../support/use.ts'
import { useConnectionEach, useDatabaseEach } from '../support/useNode.ts'

/** Several times every interval of the node below. */
const WATCHED_MS = 2500
const KEY = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
/** Everything that a node does now and then, it does often. */
const BUSY = {
  STARCITE_POLL_INTERVAL: '50ms',
  STARCITE_ARCHIVE_FLUSH_INTERVAL_MS: '50',
  STARCITE_SEGMENT_INTERVAL: '1s',
  STARCITE_HOT_RETENTION: '1s',
  STARCITE_CHECKPOINT_INTERVAL: '1s',
  STARCITE_CHECKPOINT_KEY: KEY,
}

describe('a node without clients', () => {
  const database = useDatabaseEach()
  const db = useConnectionEach(database)
  const proxy = useEach(() => TcpProxy.start(database))
  let node: Service

  afterEach(async () => {
    await node.stop()
  })

  const probe = async () => {
    const ready = await call('GET', `${node.url}/health/ready`)
    expect(ready.status).to.equal(200)
    return (await call('GET', `${node.url}/metrics`)).text
  }
  const isIdle = async () => (await probe()).includes('starcite_idle 1\n')
  /** What it sends Postgres while it is looked at, and nothing else happens. */
  const sentMeanwhile = async () => {
    const before = proxy.bytesToServer
    for (const from = performance.now(); performance.now() - from < WATCHED_MS; ) await probe()
    return proxy.bytesToServer - before
  }
  const append = () => call('POST', `${node.url}/v1/sessions/s/append`, { type: 't', payload: {} })
  const pendingEvents = async () => {
    const { rows } = await db.query('select sum(t.pending_events)::int as n from starcite.tiering_status t')
    return rows[0].n as number
  }

  it('sends Postgres nothing once it is idle, has moved and signed what was due, and comes back with the first request', async () => {
    node = await startNode({ url: proxy.url }, { ...BUSY, STARCITE_IDLE_AFTER: '200ms' })
    await call('POST', `${node.url}/v1/sessions`, { id: 's' })
    let tail = new ResumingTail(() => node.url, 's')
    await append()
    await until('the tail has it', () => tail.cursor === 1)
    expect(await isIdle(), 'with a tail').to.equal(false)
    tail.stop()
    await until('it is idle', isIdle)

    const { rows } = await db.query(
      `select (select count(*)::int from starcite.checkpoint_heads) as signed,
              (select count(*)::int from pg_catalog.pg_stat_activity a
                where a.datname = current_database() and a.application_name = 'starcite listener') as listening`,
    )
    await until('it has hung up', async () => {
      const { rowCount } = await db.query(
        `select from pg_catalog.pg_stat_activity a where a.datname = current_database() and a.application_name = 'starcite listener'`,
      )
      return rowCount === 0
    })
    expect(rows[0].signed).to.equal(1)
    expect(await sentMeanwhile()).to.equal(0)

    expect((await append()).status).to.equal(201)
    expect(await isIdle()).to.equal(false)
    tail = new ResumingTail(() => node.url, 's')
    await until('it listens again', async () => (await probe()).includes('starcite_listener_up 1\n'))
    await db.query(`select starcite.append('s', 't', '{}')`)
    await until('the tail has all', () => tail.cursor === 3)
    tail.stop()
  })

  it('looks now and then whether something is due', async () => {
    node = await startNode(
      { url: proxy.url },
      { ...BUSY, STARCITE_IDLE_AFTER: '200ms', STARCITE_IDLE_CHECK: '1s' },
    )
    await call('POST', `${node.url}/v1/sessions`, { id: 's' })
    await append()
    await until('its event is moved', async () => {
      const { rows } = await db.query('select count(*)::int as n from starcite.events')
      return rows[0].n === 0
    })
    await until('it is idle', isIdle)

    await db.query(`select starcite.append('s', 't', '{}')`)
    await until('that is moved too', async () => {
      const { rows } = await db.query('select count(*)::int as n from starcite.events')
      return rows[0].n === 0
    })
    expect(await pendingEvents()).to.equal(0)
  })

  it('never stops sending queries without a setting for it', async () => {
    node = await startNode({ url: proxy.url }, BUSY)

    expect(await sentMeanwhile()).to.be.above(0)
    expect(await isIdle()).to.equal(false)
  })
})
