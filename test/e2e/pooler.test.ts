import { expect } from 'chai'
import type { Service } from '../../src/service.ts'
import { call } from '../support/client.ts'
import { LogLines } from '../support/logLines.ts'
import { runProgram, startNode } from '../support/node.ts'
import { hasPgbouncer, PgBouncer } from '../support/pgbouncer.ts'
import { freshDatabase } from '../support/postgres.ts'
import { ResumingTail } from '../support/resumingTail.ts'
import { until } from '../support/until.ts'
import { useEach } from '../support/use.ts'
import { useConnectionEach } from '../support/useNode.ts'

const KEEPS = 'does not keep prepared statements'

describe('a node behind PgBouncer', () => {
  const database = useEach(freshDatabase)
  const db = useConnectionEach(database)
  let pooler: PgBouncer | undefined
  let url: string
  let node: Service | undefined

  before(function () {
    if (hasPgbouncer()) return
    console.log('      NOT TESTED: pgbouncer is not installed (on Debian: apt-get install pgbouncer)')
    this.skip()
  })
  afterEach(async () => {
    await node?.stop()
    node = undefined
    await pooler?.stop()
    pooler = undefined
  })

  /** Answers the URL of the database by way of a new one. */
  async function start(pool_mode: 'transaction' | 'session', size: number): Promise<string> {
    const { username, password } = new URL(database.url)
    const settings = { pool_mode, default_pool_size: String(size) }
    pooler = await PgBouncer.start(database.url, { [username]: decodeURIComponent(password) }, settings)
    return pooler.through(database.url)
  }

  /** Sessions, appends of many at once, a tail on what SQL appends, history, and a session that is erased. */
  async function lives(at: string) {
    await call('POST', `${at}/v1/sessions`, { id: 's' })
    const tail = new ResumingTail(() => at, 's')
    const appends = Array.from({ length: 100 }, () =>
      call('POST', `${at}/v1/sessions/s/append`, { type: 't', payload: {} }),
    )
    const statuses = new Set((await Promise.all(appends)).map(({ status }) => status))
    await db.query(`select starcite.append('s', 't', '{}')`)
    await until('the tail has all', () => tail.cursor === 101)
    const history = await Promise.all(
      Array.from({ length: 20 }, () => call('GET', `${at}/v1/sessions/s/events?limit=1000`)),
    )
    const erased = await call('DELETE', `${at}/v1/sessions/s`, {})

    expect([...statuses]).to.deep.equal([201])
    expect(new Set(history.map(({ json }) => json.events.length))).to.deep.equal(new Set([101]))
    expect(erased.status).to.be.oneOf([200, 202])
    tail.stop()
  }
  const isListening = async (at: string) =>
    (await call('GET', `${at}/metrics`)).text.includes('starcite_listener_up 1\n')
  /** Of sessions that outlive their clients. */
  const locksLeft = async () =>
    (
      await db.query(
        `select l.locktype, l.mode from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a on a.pid = l.pid
          where a.application_name = 'starcite migrate' and a.datname = current_database()`,
      )
    ).rows

  it('in transaction mode, with a direct STARCITE_LISTEN_URL, serves all, and says what prepared statements need', async () => {
    url = await start('transaction', 5)
    const lines = new LogLines()
    node = await startNode({ url }, { STARCITE_LISTEN_URL: database.url }, lines.log)

    expect(lines.text).to.include(KEEPS).and.include('STARCITE_PREPARED_STATEMENTS=false')
    await until('it listens', () => isListening(node?.url ?? ''))
    await lives(node.url)
  })

  it('in transaction mode, without prepared statements, has nothing to say', async () => {
    url = await start('transaction', 2)
    const lines = new LogLines()
    const settings = { STARCITE_LISTEN_URL: database.url, STARCITE_PREPARED_STATEMENTS: 'false' }
    node = await startNode({ url }, settings, lines.log)

    expect(lines.text).not.to.include('pooler')
    await lives(node.url)
  })

  for (const size of [1, 5])
    it(`in transaction mode, with nothing beside it, ends at once and says which URL it needs, with ${size} connections`, async () => {
      url = await start('transaction', size)

      for (let start = 1; start <= 2; start += 1) {
        const { child, output } = runProgram({ DATABASE_URL: url })
        await until('it ends', () => child.exitCode !== null)
        expect(child.exitCode).to.equal(4)
        expect(output()).to.include('DATABASE_URL leads through a pooler in transaction mode')
        expect(output()).to.include('set STARCITE_LISTEN_URL')
        expect(output()).not.to.match(/\n +at /)
        expect(await locksLeft()).to.deep.equal([])
      }
    })

  it('where STARCITE_LISTEN_URL leads through it too, names that one', async () => {
    url = await start('transaction', 5)
    const { message } = await startNode(database, { STARCITE_LISTEN_URL: url }).then(
      () => expect.fail('it started'),
      (error: Error) => error,
    )

    expect(message).to.match(/^STARCITE_LISTEN_URL leads through a pooler in transaction mode/)
  })

  it('in session mode serves all, also listening through it', async () => {
    url = await start('session', 30)
    const lines = new LogLines()
    node = await startNode({ url }, {}, lines.log)

    expect(lines.text).not.to.include(KEEPS)
    await until('it listens', () => isListening(node?.url ?? ''))
    await lives(node.url)
  })
})
