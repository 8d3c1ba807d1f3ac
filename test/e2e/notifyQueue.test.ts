import { expect } from 'chai'
import type pg from 'pg'
import type { Service } from '../../src/service.ts'
import { call } from '../support/client.ts'
import { EventStreamClient } from '../support/eventStreamClient.ts'
import { startNode } from '../support/node.ts'
import { ResumingTail } from '../support/resumingTail.ts'
import { connect } from '../support/template.ts'
import { throwAwayPostgres } from '../support/throwAwayPostgres.ts'
import { until } from '../support/until.ts'
import { use } from '../support/use.ts'

/** Of 8 KB; Postgres's own default makes 8 GB of them, which only takes longer to fill. */
const QUEUE_PAGES = '64'

describe("Postgres's notification queue, filled from another database of the server", () => {
  const postgres = use(() => throwAwayPostgres({ max_notify_queue_pages: QUEUE_PAGES }))
  let other: pg.Client
  let culprit: pg.Client
  let node: Service
  let second: Service

  before(async function () {
    const { url } = postgres.server
    const admin = await connect({ url })
    await admin.query('create database starcite_nodes')
    await admin.end()
    other = await connect({ url })
    culprit = await connect({ url })
    const { rows } = await other.query(`select current_setting('server_version_num')::int >= 170000 as can`)
    if (!rows[0].can) this.skip()
    const database = { url: Object.assign(new URL(url), { pathname: '/starcite_nodes' }).href }
    const settings = { STARCITE_POLL_INTERVAL: '100ms' }
    ;[node, second] = await Promise.all([startNode(database, settings), startNode(database, settings)])
  })
  after(async () => {
    await Promise.all([node?.stop(), second?.stop()])
    await Promise.all([other?.end(), culprit?.end()])
  })

  const fill = async () => {
    await culprit.query('listen x')
    await culprit.query('begin')
    await culprit.query('select 1')
    const flood = () =>
      other.query(`select pg_notify('x', repeat(i::text, 1500)) from generate_series(1000, 1050) i`)
    await until('it is full', () =>
      flood().then(
        () => false,
        (error: pg.DatabaseError) => error.code === '54000',
      ),
    )
  }
  const append = (to: Service = node) =>
    call('POST', `${to.url}/v1/sessions/s/append`, { type: 't', payload: {} })
  const ready = async () => (await call('GET', `${node.url}/health/ready`)).json
  const usage = async () => {
    const { text } = await call('GET', `${node.url}/metrics`)
    return Number(/^starcite_notify_queue_usage (\S+)$/m.exec(text)?.[1])
  }

  it('stops nothing: appends, tails of other nodes, the feed and erasures go on, and so does all when there is room again', async () => {
    await call('POST', `${node.url}/v1/sessions`, { id: 's' })
    await call('POST', `${node.url}/v1/sessions`, { id: 'gone' })
    await call('POST', `${node.url}/v1/sessions/gone/append`, { type: 't', payload: {} })
    const tail = new ResumingTail(() => second.url, 's')
    const feed = new EventStreamClient(`${second.url}/v1/lifecycle?cursor=0.0`)
    await until('the tail is open', () => tail.connections === 1)
    await until('all is well', async () => JSON.stringify(await ready()) === '{"status":"ok"}')
    await fill()

    for (let i = 0; i < 5; i += 1) expect((await append()).status).to.equal(201)
    await until('the tail has them', () => tail.cursor === 5)
    const erased = await call('DELETE', `${node.url}/v1/sessions/gone`, {})
    expect(erased.status).to.be.oneOf([200, 202])
    expect(await ready()).to.deep.equal({ status: 'ok', degraded: ['notify_queue_full'] })
    expect(await usage()).to.equal(1)
    await feed.until('it tells of the appends', ({ text }) => /"last_seq":5\b/.test(text))

    await culprit.query('rollback')
    await until('it says that it is well', async () => JSON.stringify(await ready()) === '{"status":"ok"}')
    expect(await usage()).to.be.below(0.5)
    expect((await append()).status).to.equal(201)
    await until('the tail has it', () => tail.cursor === 6)
    tail.stop()
    feed.close()
  })
})
