import { expect } from 'chai'
import { loadConfig } from '../../src/config.ts'
import { Db } from '../../src/db/pool.ts'
import type { RetryPolicy } from '../../src/objects/attempts.ts'
import { openObjectStore } from '../../src/objects/open.ts'
import { PostgresStore } from '../../src/objects/postgresStore.ts'
import { S3Store } from '../../src/objects/s3Store.ts'
import { createLog } from '../../src/ops/log.ts'
import { faultOf, listed, objectStoreContract } from '../support/objectStoreContract.ts'
import { TEST_S3, TEST_S3_START_MS, testS3 } from '../support/s3.ts'
import {
  ACCESS_DENIED,
  INTERNAL_ERROR,
  type S3Fault,
  type S3Request,
  S3Server,
  SLOW_DOWN,
} from '../support/s3Server.ts'
import { bound } from '../support/slack.ts'
import { TcpProxy } from '../support/tcpProxy.ts'
import { connect } from '../support/template.ts'
import { timed, until } from '../support/until.ts'
import { useEach } from '../support/use.ts'
import { useDatabase } from '../support/useNode.ts'

/** Gives up within the time of a test. */
const HASTY: RetryPolicy = { attempts: 3, attemptMs: 300, pauseMs: 2, maxPauseMs: 10 }

const poolOf = (url: string, timeoutMs = 5000) =>
  new Db({
    url,
    size: 4,
    applicationName: 'object store test',
    timeoutMs,
    preparedStatements: true,
    log: createLog('silent'),
  })

describe('object stores', () => {
  describe('in Postgres', () => {
    const database = useDatabase()
    let db: Db

    before(async () => {
      db = poolOf(database.url)
    })

    after(async () => {
      await db?.stop()
    })

    objectStoreContract('a table in Postgres', async () => new PostgresStore(db))

    it('reads a range without reading what lies before it', async () => {
      const store = new PostgresStore(db)
      await store.putNew('ranges', Buffer.alloc(8 * 1024 * 1024, 'x'))
      const client = await connect(database)

      const { rows } = await client.query(
        `explain (analyze, buffers, format json)
         select substring(a.body from 8000000 for 1000) from starcite.archive_objects a where a.key = 'ranges'`,
      )

      await client.end()
      const plan = JSON.parse(rows[0]['QUERY PLAN'])[0].Plan
      expect(plan['Shared Hit Blocks'] + plan['Shared Read Blocks']).to.be.within(1, 50)
    })

    it('is what a node without a bucket uses', async () => {
      const store = await openObjectStore(loadConfig({}).archive, db)

      expect(store.name).to.equal('postgres')
      await store.putNew('opened', Buffer.from('x'))
      expect((await store.get('opened')).toString()).to.equal('x')
    })

    it('tries again when the connection breaks, and is unavailable while Postgres is silent or away', async () => {
      const proxy = await TcpProxy.start(database)
      const far = poolOf(proxy.url, 300)
      const store = new PostgresStore(far, HASTY)
      await store.putNew('far', Buffer.from('x'))

      proxy.cut()
      expect((await store.get('far')).toString()).to.equal('x')

      proxy.silence()
      const silent = await timed(faultOf(store.get('far')))
      expect(silent.value).to.equal('unavailable')
      expect(silent.ms).to.be.below(bound(2000))

      proxy.flow()
      await until('it is back', () => store.get('far').catch(() => undefined))

      await proxy.stop()
      expect(await faultOf(store.putNew('far', Buffer.from('x')))).to.equal('unavailable')
      expect(await faultOf(listed(store, ''))).to.equal('unavailable')
      await far.stop()
    })

    it('is denied to a user without the right, at once', async () => {
      const admin = await connect(database)
      await admin.query('create role object_store_stranger login')
      await admin.query('grant usage on schema starcite to object_store_stranger')
      const url = new URL(database.url)
      url.username = 'object_store_stranger'
      const stranger = poolOf(url.href)

      const fault = await faultOf(new PostgresStore(stranger, HASTY).get('opened'))

      await stranger.stop()
      await admin.query('drop owned by object_store_stranger')
      await admin.query('drop role object_store_stranger')
      await admin.end()
      expect(fault).to.equal('denied')
    })
  })

  describe('in S3', () => {
    before(async function () {
      this.timeout(TEST_S3_START_MS)
      await testS3()
    })

    objectStoreContract(`S3, ${TEST_S3}`, async () => new S3Store(await testS3()))

    it('is denied a bucket that is not there, and keys that are not known', async () => {
      const settings = await testS3()
      const stores = [
        new S3Store({ ...settings, bucket: 'starcite-no-such-bucket' }),
        new S3Store({ ...settings, credentials: { accessKeyId: 'nobody', secretAccessKey: 'knows' } }),
        new S3Store({
          ...settings,
          credentials: { accessKeyId: settings.credentials?.accessKeyId ?? '', secretAccessKey: 'wrong' },
        }),
      ]

      for (const store of stores) {
        expect(await faultOf(store.get('k'))).to.equal('denied')
        expect(await faultOf(store.putNew('k', Buffer.from('x')))).to.equal('denied')
        expect(await faultOf(listed(store, ''))).to.equal('denied')
        await store.stop()
      }
    })

    it('keeps to its prefix', async () => {
      const settings = await testS3()
      const [one, other] = ['one', 'other'].map(
        (name) => new S3Store({ ...settings, prefix: `/${settings.prefix}/${name}/` }),
      ) as [S3Store, S3Store]
      const above = new S3Store(settings)

      await one.putNew('k', Buffer.from('1'))
      await other.putNew('k', Buffer.from('22'))

      expect(await listed(one, '')).to.deep.equal({ k: 1 })
      expect(await listed(other, 'k')).to.deep.equal({ k: 2 })
      expect(await listed(above, 'o')).to.deep.equal({ 'one/k': 1, 'other/k': 2 })
      for (const store of [one, other]) await store.delete('k')
      for (const store of [one, other, above]) await store.stop()
    })
  })

  describe('in S3, when something goes wrong', () => {
    const BODY = Buffer.from('0123456789'.repeat(1000))
    const server = useEach(() => S3Server.start())
    let store: S3Store

    beforeEach(async () => {
      store = new S3Store(server.settings, HASTY)
      await store.putNew('k', BODY)
      server.requests.length = 0
    })

    afterEach(async () => {
      await store.stop()
    })

    objectStoreContract(
      'S3, in this process over HTTP',
      async () => {
        server.pageKeys = 7
        return new S3Store(server.settings)
      },
      { pageKeys: 7 },
    )

    const read = () => store.getRange('k', 100, 2000)
    const write = () => store.putNew('new', BODY)
    const methods = () => server.requests.map((request) => request.method)
    const isPut = (request: S3Request) => request.method === 'PUT'
    const isHead = (request: S3Request) => request.method === 'HEAD'

    /** What comes of a fault that lasts. */
    const lasting: readonly [string, S3Fault, string][] = [
      ['500', INTERNAL_ERROR, 'unavailable'],
      ['503 SlowDown', SLOW_DOWN, 'unavailable'],
      ['429', { kind: 'error', status: 429, code: 'TooManyRequests' }, 'unavailable'],
      ['400 RequestTimeout', { kind: 'error', status: 400, code: 'RequestTimeout' }, 'unavailable'],
      ['slower than an attempt may be', { kind: 'slow', ms: 60_000 }, 'unavailable'],
      ['no answer', { kind: 'silent' }, 'unavailable'],
      ['a broken connection', { kind: 'reset' }, 'unavailable'],
      ['a body that stalls', { kind: 'stalled body' }, 'unavailable'],
      ['a body that is cut', { kind: 'cut body' }, 'damaged'],
      ['a body that is too short', { kind: 'short body' }, 'damaged'],
    ]
    for (const [title, fault, outcome] of lasting) {
      it(`${title}: is tried a few times, then ${outcome}`, async () => {
        server.fail(fault)

        const { value, ms } = await timed(faultOf(read()))

        expect(value).to.equal(outcome)
        expect(methods()).to.deep.equal(['GET', 'GET', 'GET'])
        expect(ms).to.be.below(bound(HASTY.attempts * (HASTY.attemptMs + HASTY.maxPauseMs) + 500))
      })

      it(`${title}, once: the caller sees no error`, async () => {
        server.fail(fault, { times: 1 })
        expect((await read()).equals(BODY.subarray(100, 2100))).to.equal(true)
        server.fail(fault, { times: 1 })
        expect((await store.get('k')).length, 'a short body is noticed by its length only').to.equal(
          fault.kind === 'short body' ? BODY.length / 2 : BODY.length,
        )
      })
    }

    it('403: is denied at once', async () => {
      server.fail(ACCESS_DENIED)

      expect(await faultOf(read())).to.equal('denied')
      expect(await faultOf(store.delete('k'))).to.equal('denied')
      expect(await faultOf(listed(store, ''))).to.equal('denied')
      expect(methods()).to.deep.equal(['GET', 'DELETE', 'GET'])
      expect(await faultOf(write())).to.equal('denied')
    })

    it('a 404 that does not come from S3 is not reported as a missing object', async () => {
      server.fail({ kind: 'error', status: 404, code: 'PageNotFound' })

      expect(await faultOf(read())).to.equal('denied')
    })

    it('down: is unavailable, and calls that are still trying come through when it is back', async () => {
      const patient = new S3Store(server.settings, { ...HASTY, attempts: 1000 })
      await server.goDown()

      expect(await faultOf(read())).to.equal('unavailable')
      expect(await faultOf(write())).to.equal('unavailable')
      const waiting = patient.get('k')
      await server.comeUp()

      expect((await waiting).equals(BODY)).to.equal(true)
      await patient.stop()
    })

    it('slow, but in time: is waited for', async () => {
      server.fail({ kind: 'slow', ms: 50 })

      expect(await read()).to.have.lengthOf(2000)
      expect(methods()).to.deep.equal(['GET'])
    })

    it('a flipped bit: is handed over, for the checksum of the caller to tell', async () => {
      server.fail({ kind: 'flipped bit' })

      const bytes = await store.get('k')

      expect(bytes).to.have.lengthOf(BODY.length)
      expect(bytes.equals(BODY)).to.equal(false)
    })

    it('a PUT whose answer was lost: says that the object exists, and it is the one that was put', async () => {
      server.fail({ kind: 'lost answer' }, { times: 1, on: isPut })

      expect(await write()).to.equal('exists')

      expect((await store.get('new')).equals(BODY)).to.equal(true)
      expect(methods()).to.deep.equal(['HEAD', 'PUT', 'HEAD', 'GET'])
    })

    it('412 after a PUT whose answer was lost: the same, without the right to HEAD what is not there', async () => {
      server.fail(ACCESS_DENIED, { on: isHead })
      server.fail({ kind: 'lost answer' }, { times: 1, on: isPut })

      expect(await write()).to.equal('exists')

      expect(methods()).to.deep.equal(['HEAD', 'PUT', 'HEAD', 'PUT'])
      expect(server.requests.at(-1)?.headers['if-none-match']).to.equal('*')
    })

    it('409, because another writer is at it: tries again', async () => {
      const conflict: S3Fault = { kind: 'error', status: 409, code: 'ConditionalRequestConflict' }
      server.fail(conflict, { times: 1, on: isPut })

      expect(await write()).to.equal('created')
    })

    for (const conditions of ['ignored', 'refused'] as const)
      it(`conditions on a PUT ${conditions} by the server: still does not overwrite`, async () => {
        server.conditions = conditions

        expect(await write()).to.equal('created')
        expect(await store.putNew('new', Buffer.from('second'))).to.equal('exists')

        expect((await store.get('new')).equals(BODY)).to.equal(true)
      })

    it('a clock that jumped: signs by the clock of the server', async () => {
      server.clockAheadMs = 3_600_000

      expect(await write()).to.equal('created')
      expect(await read()).to.have.lengthOf(2000)
    })

    it('stopping in the middle: leaves no connection', async () => {
      server.fail({ kind: 'silent' })
      const calls = [faultOf(read()), faultOf(write()), faultOf(listed(store, ''))]
      await until('all are asking', () => server.requests.length === calls.length)

      await store.stop()

      expect(await Promise.all(calls)).to.deep.equal(['unavailable', 'unavailable', 'unavailable'])
      await until('connections are closed', () => server.connections === 0)
    })

    it('asks for a range once, and for nothing else', async () => {
      await read()

      expect(
        server.requests.map((request) => [request.method, request.key, request.headers.range]),
      ).to.deep.equal([['GET', 'starcite/k', 'bytes=100-2099']])
    })

    it('shares a bounded number of connections', async () => {
      await store.stop()
      store = new S3Store(server.settings, { ...HASTY, attemptMs: 10_000 })
      server.fail({ kind: 'slow', ms: 20 })
      const calls = Array.from({ length: 100 }, read)
      await until('the first are asking', () => server.requests.length > 0)

      const connections = server.connections
      await Promise.all(calls)

      expect(connections).to.be.within(1, 32)
      expect(server.connections).to.be.within(1, 32)
    })

    it('sends the session token of temporary keys', async () => {
      const { credentials } = server.settings
      const temporary = new S3Store(
        { ...server.settings, credentials: { ...credentials, sessionToken: 'token' } },
        HASTY,
      )

      await temporary.get('k')

      expect(server.requests[0]?.headers['x-amz-security-token']).to.equal('token')
      await temporary.stop()
    })

    it('is opened from the environment', async () => {
      const { bucket, endpoint, credentials } = server.settings
      const config = loadConfig({
        STARCITE_S3_BUCKET: bucket,
        STARCITE_S3_ENDPOINT: endpoint,
        AWS_ACCESS_KEY_ID: credentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      })

      const opened = await openObjectStore(config.archive, undefined as never)

      expect(opened.name).to.equal('s3')
      expect((await opened.get('k')).equals(BODY)).to.equal(true)
      await opened.stop()
    })
  })
})
