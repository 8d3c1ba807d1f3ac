import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import type pg from 'pg'
import { verifyCopy } from '../../src/audit/verify/verifyCopy.ts'
import { verifyDatabase } from '../../src/audit/verify/verifyDatabase.ts'
import { S3Store } from '../../src/objects/s3Store.ts'
import type { Service } from '../../src/service.ts'
import { at } from '../support/answers.ts'
import { Bucket } from '../support/bucket.ts'
import { copyOfBucket } from '../support/bucketCopy.ts'
import { call, TailClient } from '../support/client.ts'
import { startNode } from '../support/node.ts'
import type { FreshDatabase } from '../support/postgres.ts'
import { hasRadosgw } from '../support/radosgw.ts'
import { TEST_S3_START_MS, testS3 } from '../support/s3.ts'
import { connect, migratedDatabase } from '../support/template.ts'
import { poolOf } from '../support/tiering.ts'
import { until } from '../support/until.ts'

const SECRET = `secret-${randomUUID()}`
const PLAIN = `plain-${randomUUID()}`
const EVENTS = 30
const REDACTED = 7

describe('erasing in a bucket of a real S3 server', function () {
  this.timeout(120_000)
  let database: FreshDatabase
  let db: pg.Client
  let bucket: Bucket
  let node: Service | undefined

  before(async function () {
    this.timeout(TEST_S3_START_MS)
    if (!hasRadosgw()) {
      console.log('      NOT TESTED: erasing in a versioned bucket takes radosgw')
      this.skip()
    }
    await testS3()
  })
  afterEach(async () => {
    await node?.stop()
    node = undefined
    await db?.end()
    await database?.drop()
    bucket?.close()
  })

  async function start(): Promise<Service> {
    const { endpoint = '', credentials, prefix, ...settings } = bucket.settings
    node = await startNode(database, {
      STARCITE_S3_BUCKET: settings.bucket,
      STARCITE_S3_ENDPOINT: endpoint,
      STARCITE_S3_ACCESS_KEY_ID: credentials?.accessKeyId ?? '',
      STARCITE_S3_SECRET_ACCESS_KEY: credentials?.secretAccessKey ?? '',
      STARCITE_S3_PREFIX: prefix,
      STARCITE_SEGMENT_INTERVAL: '1h',
      STARCITE_HOT_RETENTION: '24h',
    })
    return node
  }

  async function append(url: string, id: string, text: (n: number) => string): Promise<void> {
    const events = Array.from({ length: EVENTS }, (_, n) => ({
      type: 't',
      payload: { n, text: text(n + 1) },
    }))
    expect((await call('POST', at(url, id, '/events'), { events })).status).to.equal(201)
  }

  async function moveAll(): Promise<void> {
    await db.query(`update starcite.settings set value = '-10 years' where name = 'hot_retention'`)
    await db.query(`select pg_notify('starcite_heads', '[[0,0,1]]')`) // has the job look at once
    await until(
      'all is cold',
      async () => (await db.query('select from starcite.events')).rowCount === 0,
      30_000,
    )
    await db.query(`update starcite.settings set value = '24 hours' where name = 'hot_retention'`)
  }

  const erased = (url: string, id: string) =>
    until(
      'it is done',
      async () => (await call('GET', `${url}/v1/erasures/${id}`)).json.status === 'done',
      30_000,
    )

  async function replayed(url: string, id: string): Promise<string[]> {
    const tail = new TailClient(url, id, 'cursor=0')
    await tail.until((client) => client.events.length === 2 * EVENTS)
    tail.close()
    return tail.events
  }

  /** The chains of both tiers, and those of a copy of the bucket by itself. */
  async function findings(): Promise<unknown[]> {
    const found: unknown[] = []
    const signal = new AbortController().signal
    const onFinding = (finding: unknown) => found.push(finding)
    const pool = poolOf(database.url)
    const store = new S3Store(bucket.settings)
    const copy = await copyOfBucket(await bucket.objects())
    const inBoth = await verifyDatabase({ db: pool, store, signal, scope: {}, onFinding })
    const inCopy = await verifyCopy({ directory: copy.directory, signal, scope: {}, onFinding })
    await copy.remove()
    await store.stop()
    await pool.stop()
    expect([inBoth.events, inCopy.events]).to.deep.equal([4 * EVENTS, 4 * EVENTS])
    expect([inBoth.redacted, inCopy.redacted]).to.deep.equal([2 * EVENTS + 1, 2 * EVENTS + 1])
    return found
  }

  for (const isVersioned of [false, true])
    it(`${isVersioned ? 'which keeps old versions: they go when the bucket expires them' : 'leaves nothing in it'}, and what stays replays from it and verifies (I5)`, async () => {
      bucket = await Bucket.create(await testS3(), `erasure-${randomUUID()}`, isVersioned)
      database = await migratedDatabase()
      db = await connect(database)
      const { url } = await start()
      for (const id of ['gone', 'kept']) await call('POST', `${url}/v1/sessions`, { id, title: SECRET })
      for (let round = 0; round < 2; round += 1) {
        await append(url, 'gone', () => SECRET)
        await append(url, 'kept', (n) => (round === 0 && n === REDACTED ? SECRET : PLAIN))
        await moveAll()
      }
      const before = await replayed(url, 'kept')
      expect((await bucket.residue(SECRET)).now, 'both segments').to.have.lengthOf(2)

      const whole = await call('DELETE', at(url, 'gone'))
      const one = await call('POST', at(url, 'kept', `/events/${REDACTED}/redact`))
      for (const { json } of [whole, one]) await erased(url, json.id)

      const residue = await bucket.residue(SECRET)
      expect(residue.now).to.deep.equal([])
      expect(residue.before.length > 0, 'as docs/erasure.md says').to.equal(isVersioned)
      await bucket.expireOldVersions()
      expect(await bucket.residue(SECRET)).to.deep.equal({ now: [], before: [] })

      await node?.stop()
      const { url: fresh } = await start() // which has nothing in memory
      for (const path of ['', '/events', '/events?order=desc', '/events?cursor=5&limit=3'])
        expect((await call('GET', at(fresh, 'gone', path))).json.error, path).to.equal('session_erased')
      const tombstone = JSON.parse(before[REDACTED - 1] as string)
      const after = await replayed(fresh, 'kept')
      expect(JSON.parse(after[REDACTED - 1] as string)).to.deep.equal({
        ...tombstone,
        payload: {},
        redacted: true,
      })
      const others = (frames: readonly string[]) => frames.filter((_, i) => i !== REDACTED - 1)
      expect(others(after)).to.deep.equal(others(before))
      expect(await findings()).to.deep.equal([])
    })
})
