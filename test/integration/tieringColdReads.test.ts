import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { S3Store } from '../../src/objects/s3Store.ts'
import { createLog } from '../../src/ops/log.ts'
import { ColdReader } from '../../src/tiering/cold/coldReader.ts'
import { type Answer, call, TailClient } from '../support/client.ts'
import { type NodeProcess, spawnNode } from '../support/node.ts'
import { ACCESS_DENIED, INTERNAL_ERROR, type S3Fault, S3Server, SLOW_DOWN } from '../support/s3Server.ts'
import { someEvents, TieringLab } from '../support/tiering.ts'
import { timed, until } from '../support/until.ts'
import { use } from '../support/use.ts'

const COLD = 300
const HOT = 20

describe('reading cold events through a node', function () {
  this.timeout(120_000)
  const server = use(() => S3Server.start())
  const lab = use(() => TieringLab.open(new S3Store(server.settings)))
  let node: NodeProcess
  /** Each test has a session of its own, which no cache has. */
  let id: string
  let sid: string
  let frames: string[]

  before(async () => {
    const { bucket, endpoint, credentials, prefix } = server.settings
    node = await spawnNode(lab.database, {
      STARCITE_S3_BUCKET: bucket,
      STARCITE_S3_ENDPOINT: endpoint,
      STARCITE_S3_ACCESS_KEY_ID: credentials?.accessKeyId ?? '',
      STARCITE_S3_SECRET_ACCESS_KEY: credentials?.secretAccessKey ?? '',
      STARCITE_S3_PREFIX: prefix,
      STARCITE_ARCHIVE_FLUSH_INTERVAL_MS: '86400000',
    })
    await lab.makeAllDue()
  })
  after(async () => {
    await node?.kill('SIGTERM')
  })

  beforeEach(async () => {
    id = randomUUID()
    sid = await lab.session(id)
    await lab.append(someEvents([{ session: id }], COLD))
    await lab.move()
    await lab.append(someEvents([{ session: id }], HOT).map(({ producer, ...event }) => event))
    frames = await lab.read(sid)
    server.requests.length = 0
  })
  afterEach(async () => {
    await server.comeUp().catch(() => {})
    server.heal()
  })

  const events = (query: string): Promise<Answer> =>
    call('GET', `${node.url}/v1/sessions/${id}/events?${query}`)
  const texts = (from: number, to = frames.length) => frames.slice(from, to)
  const page = (answer: Answer) =>
    answer.text.slice('{"events":['.length, answer.text.lastIndexOf('],"next_cursor"'))

  it('answers the bytes that were hot, and a first event in the middle costs one Range GET (I5)', async () => {
    const middle = await events('cursor=150&limit=10')
    expect(page(middle)).to.equal(texts(150, 160).join(','))
    expect(server.requests.map(({ method }) => method)).to.deep.equal(['GET'])

    const all = await events('limit=1000')
    expect(page(all)).to.equal(frames.join(','))
    const tail = new TailClient(node.url, id, 'cursor=0&follow=false')
    await tail.until(({ closed }) => closed !== undefined)
    expect(tail.frames).to.deep.equal(frames)
    expect(tail.closed?.code).to.equal(1000)
    const metrics = await call('GET', `${node.url}/metrics`)
    expect(metrics.text).to.match(/starcite_replay_read_events_total\{tier="cold"\} [1-9]/)
    expect(metrics.text).to.match(/starcite_archive_read_cache_bytes [1-9]/)
    expect(metrics.text).to.match(/^starcite_archive_pending_rows \d+$/m)
    expect(metrics.text).to.match(/^starcite_archive_lag \d/m)
  })

  const faults: Readonly<Record<string, S3Fault | 'down'>> = {
    'is down': 'down',
    'answers 500': INTERNAL_ERROR,
    'answers 503 SlowDown': SLOW_DOWN,
    'answers 403': ACCESS_DENIED,
    'has lost the object': { kind: 'error', status: 404, code: 'NoSuchKey' },
    'cuts bodies': { kind: 'cut body' },
    'returns a corrupted body': { kind: 'flipped bit' },
  }
  for (const [title, fault] of Object.entries(faults))
    it(`while the store ${title}: history is 503, tails wait, what is hot goes on; then all of it comes (I3)`, async () => {
      if (fault === 'down') await server.goDown()
      else server.fail(fault)
      const tail = new TailClient(node.url, id, 'cursor=0')
      const finite = new TailClient(node.url, id, 'cursor=290&follow=false')

      const refusals = await Promise.all([
        events('cursor=0'),
        events('order=desc&cursor=100'),
        events('type=state'),
      ])
      for (const refusal of refusals) {
        expect(refusal.status).to.equal(503)
        expect(refusal.json).to.include({ error: 'archive_read_unavailable' })
        expect(refusal.headers.get('retry-after')).to.equal('1')
      }
      const hot = await events(`cursor=${COLD}&limit=${HOT}`)
      expect(page(hot)).to.equal(texts(COLD, COLD + HOT).join(','))
      const live = new TailClient(node.url, id, `cursor=${frames.length}`)
      const appended = await call('POST', `${node.url}/v1/sessions/${id}/append`, {
        type: 'live',
        payload: {},
      })
      expect(appended.status).to.equal(201)
      await live.until((client) => client.frames.length === 1)
      frames.push(...live.frames)
      expect([tail.frames, finite.frames, tail.closed, finite.closed]).to.deep.equal([
        [],
        [],
        undefined,
        undefined,
      ])

      await server.comeUp().catch(() => {})
      server.heal()
      await tail.until((client) => client.frames.length >= frames.length)
      await finite.until(({ closed }) => closed !== undefined)
      expect(tail.frames).to.deep.equal(frames)
      expect(finite.frames).to.deep.equal(texts(290, frames.length - 1))
      expect(finite.closed?.code).to.equal(1000)
      await until('history answers', async () => (await events('cursor=0')).status === 200)
      tail.close()
      live.close()
    })

  it('gets an error within the time for a slice when the store never answers', async () => {
    const store = new S3Store(server.settings)
    const log = createLog('silent')
    const cold = new ColdReader({
      db: lab.pool,
      store,
      cacheBytes: 1,
      log,
      metrics: lab.metrics,
      timeoutMs: 200,
    })
    server.fail({ kind: 'silent' })

    const { value: failure, ms } = await timed(cold.sliceAt(sid, 1).catch((error: Error) => error))

    expect(failure).to.be.instanceOf(Error).with.property('name', 'ObjectStoreError')
    expect(ms).to.be.within(190, 10_000) // the store's own time-out is longer
    await store.stop()
  })
})
