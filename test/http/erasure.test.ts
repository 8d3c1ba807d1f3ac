import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import type pg from 'pg'
import { ANYONE, type Principal } from '../../src/auth/principal.ts'
import { S3Store } from '../../src/objects/s3Store.ts'
import type { Service } from '../../src/service.ts'
import { call, TailClient } from '../support/client.ts'
import { EventStreamClient } from '../support/eventStreamClient.ts'
import { Guests, startGuardedNode } from '../support/guardedNode.ts'
import { startNode } from '../support/node.ts'
import type { FreshDatabase } from '../support/postgres.ts'
import { residueOf } from '../support/residue.ts'
import { S3Server } from '../support/s3Server.ts'
import { SocketClient } from '../support/socketClient.ts'
import { connect, migratedDatabase } from '../support/template.ts'
import { HASTY } from '../support/tiering.ts'
import { until } from '../support/until.ts'
import { use } from '../support/use.ts'
import { faultsOfChain } from '../support/wholeChain.ts'

const SECRET = `secret-${randomUUID()}`

describe('erasure by tokens', () => {
  it('are refused as storage_unavailable, naming the lock, while another transaction holds the session', async () => {
    const database = await migratedDatabase()
    const node = await startNode(database)
    const holder = await connect(database)
    try {
      await call('POST', `${node.url}/v1/sessions`, { id: 'held' })
      await holder.query('begin; select from starcite.session_heads for update')

      const refused = await call('DELETE', `${node.url}/v1/sessions/held`)
      await holder.query('rollback')

      expect([refused.status, refused.json.error]).to.deep.equal([503, 'storage_unavailable'])
      expect(refused.json.message).to.match(/another transaction holds a lock/)
      expect((await call('DELETE', `${node.url}/v1/sessions/held`)).status).to.equal(202)
    } finally {
      await holder.end()
      await node.stop()
      await database.drop()
    }
  })

  it('takes the scope that the setting names, a token that is not for another session, and the same tenant', async () => {
    const database = await migratedDatabase()
    const guests = new Guests()
    const node = await startGuardedNode(database, guests, {
      settings: { STARCITE_ERASE_SCOPE: 'session:erase' },
    })
    const as = (given: Partial<Principal>) =>
      guests.admit('', { ...ANYONE, tenantId: 'acme', actor: 'user:u', kind: 'user', ...given })
    const request = async (method: string, path: string) => {
      const { status, json } = await call(method, `${node.url}/v1${path}`)
      return [status, json.error ?? json.subject]
    }
    const by = { tenantId: 'acme', title: null, metadata: '{}', creatorPrincipal: null }
    await node.sessions.create({ ...by, id: 's' })

    for (const [method, path] of [
      ['DELETE', '/sessions/s'],
      ['POST', '/sessions/s/events/1/redact'],
      ['GET', `/erasures/${randomUUID()}`],
    ] as const) {
      as({ scopes: new Set(['session:create', 'session:read', 'session:append'] as const) })
      expect(await request(method, path), path).to.deep.equal([403, 'forbidden_scope'])
    }
    as({ sessionId: 'other' })
    expect(await request('DELETE', '/sessions/s')).to.deep.equal([403, 'forbidden_session'])
    as({ tenantId: 'rival' })
    expect(await request('DELETE', '/sessions/s')).to.deep.equal([404, 'session_not_found'])
    as({ scopes: new Set(['session:erase'] as const) })
    const receipt = await call('DELETE', `${node.url}/v1/sessions/s`)
    expect([receipt.status, receipt.json.subject]).to.deep.equal([202, 'user:u'])
    as({ tenantId: 'rival' })
    expect(await request('GET', `/erasures/${receipt.json.id}`)).to.deep.equal([404, 'erasure_not_found'])
    as({ sessionId: 'other' })
    expect(await request('GET', `/erasures/${receipt.json.id}`)).to.deep.equal([403, 'forbidden_session'])
    await node.stop()
    await database.drop()
  })
})

describe('erasure over HTTP, on two nodes', () => {
  const server = use(() => S3Server.start())
  let database: FreshDatabase
  let db: pg.Client
  let store: S3Store
  let nodes: Service[]

  before(async () => {
    database = await migratedDatabase()
    db = await connect(database)
    const { settings } = server
    store = new S3Store(settings, HASTY)
    const env = {
      STARCITE_S3_BUCKET: settings.bucket,
      STARCITE_S3_ENDPOINT: settings.endpoint ?? '',
      STARCITE_S3_ACCESS_KEY_ID: settings.credentials?.accessKeyId ?? '',
      STARCITE_S3_SECRET_ACCESS_KEY: settings.credentials?.secretAccessKey ?? '',
      STARCITE_S3_PREFIX: settings.prefix,
      STARCITE_SEGMENT_INTERVAL: '1h',
      STARCITE_HOT_RETENTION: '24h',
    }
    nodes = [await startNode(database, env), await startNode(database, env)]
  })
  after(async () => {
    await Promise.all(nodes.map((node) => node.stop()))
    await store.stop()
    await db.end()
    await database.drop()
  })

  const [A, B] = [0, 1].map((n) => (path: string) => `${nodes[n]?.url}/v1${path}`) as [
    (path: string) => string,
    (path: string) => string,
  ]

  async function session(id: string, events: number): Promise<void> {
    await call('POST', A('/sessions'), { id, title: `title ${SECRET}`, metadata: { m: SECRET } })
    await append(id, events)
  }

  async function append(id: string, events: number): Promise<void> {
    const answer = await call('POST', A(`/sessions/${id}/events`), {
      events: Array.from({ length: events }, (_, n) => ({
        type: 'content',
        actor: 'user:u',
        payload: { text: SECRET, n },
        metadata: { m: SECRET },
      })),
    })
    expect(answer.status).to.equal(201)
  }

  /** Makes everything due, and waits until it is cold. */
  async function moveAll(): Promise<void> {
    await db.query(`update starcite.settings set value = '-10 years' where name = 'hot_retention'`)
    // A notification with an epoch has the job look at once.
    await db.query(`select pg_notify('starcite_heads', '[[0,0,1]]')`)
    await until('all is cold', async () => {
      const { rows } = await db.query('select count(*)::int as n from starcite.events')
      return rows[0].n === 0
    })
    await db.query(`update starcite.settings set value = '24 hours' where name = 'hot_retention'`)
  }

  const done = (id: string) =>
    until('the erasure is done', async () => {
      const { json } = await call('GET', B(`/erasures/${id}`))
      return json.status === 'done' && json
    })

  it('answers with a receipt, closes every tail on every node, and then says 410 to everything', async () => {
    await session('s1', 20)
    await moveAll()
    await append('s1', 5)
    const raw = [A, B].map(
      (url) => new TailClient(url('').slice(0, -'/v1'.length), 's1', 'cursor=0&batch_size=100'),
    )
    const stream = new EventStreamClient(B('/sessions/s1/tail'))
    const socket = await SocketClient.open(B('').slice(0, -'/v1'.length))
    await socket.join('tail:s1', { batch_size: 1000 })
    const longPoll = call('GET', B('/sessions/s1/events?cursor=25&wait=60'))
    const first = await call('GET', B('/sessions/s1/events?limit=7'))
    expect(first.json.events).to.have.lengthOf(7)
    await Promise.all(raw.map((tail) => tail.until((client) => client.events.length === 25)))
    await stream.until('it has all', (client) => client.events.length === 25)
    await until('the socket has all', () => socket.events('tail:s1').length === 25)

    const receipt = await call('DELETE', A('/sessions/s1'), { reason: 'case 7' }, { 'x-request-id': 'req-7' })

    expect(receipt.status).to.equal(202)
    expect(receipt.json).to.deep.include({
      kind: 'session',
      session_id: 's1',
      last_seq: 25,
      status: 'pending',
      reason: 'case 7',
      request_id: 'req-7',
    })
    expect(receipt.headers.get('location')).to.equal(`/v1/erasures/${receipt.json.id}`)
    for (const tail of raw) {
      await tail.until((client) => client.closed !== undefined)
      expect(tail.closed).to.deep.equal({ code: 4004, reason: 'session_erased' })
    }
    await stream.until('it has ended', (client) => client.ended)
    expect((await socket.event('session_erased'))[4]).to.deep.equal({ reason: 'session_erased' })
    expect((await socket.event('phx_close')).slice(0, 4)).to.deep.equal(['1', '1', 'tail:s1', 'phx_close'])
    expect((await longPoll).status).to.equal(410)

    for (const url of [A, B]) {
      const calls = [
        ['GET', '/sessions/s1'],
        ['PATCH', '/sessions/s1', { title: 'x' }],
        ['POST', '/sessions/s1/archive'],
        ['POST', '/sessions/s1/unarchive'],
        ['POST', '/sessions/s1/append', { type: 't', payload: {} }],
        ['POST', '/sessions/s1/events', { events: [{ type: 't', payload: {} }] }],
        ['GET', '/sessions/s1/events'],
        ['GET', `/sessions/s1/events?cursor=${first.json.next_cursor}&limit=7`],
        ['GET', '/sessions/s1/events?order=desc'],
        ['POST', '/sessions/s1/events/3/redact'],
      ] as const
      for (const [method, path, body] of calls) {
        const { status, json } = await call(method, url(path), body)
        expect([status, json.error], `${method} ${path}`).to.deep.equal([410, 'session_erased'])
      }
      const sse = await call('GET', url('/sessions/s1/tail'), undefined, { accept: 'text/event-stream' })
      expect(sse.status).to.equal(410)
      const list = await call('GET', url('/sessions?archived=all'))
      expect(list.json.sessions.map((session: { id: string }) => session.id)).not.to.include('s1')
      expect((await call('GET', url(`/sessions?metadata.m=${SECRET}`))).json.sessions).to.deep.equal([])
    }
    expect(await socket.join('tail:s1', {}, '2')).to.deep.equal({
      status: 'error',
      response: { reason: 'session_erased' },
    })
    expect((await call('POST', A('/sessions'), { id: 's1' })).json.error).to.equal('session_exists')

    const finished = await done(receipt.json.id)
    // The last five may have gone cold, too, before they were erased.
    expect(finished.removed.hot_events + finished.removed.cold_events).to.equal(25)
    expect(finished.removed.objects).to.be.within(1, 2)
    const { rows: changes } = await db.query(
      `select c.kind, c.request_id from starcite.session_changes c join starcite.sessions s using (sid)
        where s.id = 's1' order by c.change_id`,
    )
    expect(changes.map((change) => change.kind)).to.deep.equal(['created', 'erased'])
    expect(changes[1].request_id).to.equal('req-7')
    const again = await call('DELETE', B('/sessions/s1'))
    expect([again.status, again.json.id]).to.deep.equal([200, receipt.json.id])
    expect(await residueOf(db, store, SECRET)).to.deep.equal([])
    const { rows } = await db.query(`select sid, encode(h.chain_hash, 'hex') as hash from starcite.sessions s
      join starcite.session_heads h using (sid) where s.id = 's1'`)
    expect(await faultsOfChain(db, store, rows[0].sid)).to.deep.equal([])
    expect(receipt.json.chain_hash).to.equal(rows[0].hash)
    socket.ws.terminate()
  })

  it('shows a redacted event without its content on both nodes, from caches and rings too, live tails going on', async () => {
    await session('s2', 10)
    await moveAll()
    await append('s2', 3)
    const tails = [A, B].map((url) => new TailClient(url('').slice(0, -'/v1'.length), 's2', 'cursor=0'))
    await Promise.all(tails.map((tail) => tail.until((client) => client.events.length === 13)))
    for (const url of [A, B]) await call('GET', url('/sessions/s2/events?limit=1000')) // now in both caches

    const receipts = []
    for (const seq of [4, 12]) receipts.push(await call('POST', A(`/sessions/s2/events/${seq}/redact`), {}))
    expect(receipts.map((receipt) => receipt.status)).to.deep.equal([202, 202])

    const expectRedacted = async () => {
      for (const url of [A, B]) {
        const { json } = await call('GET', url('/sessions/s2/events?limit=1000'))
        for (const event of json.events) {
          const isRedacted = [4, 12].includes(event.seq)
          expect(event.redacted).to.equal(isRedacted || undefined)
          expect(JSON.stringify(event).includes(SECRET)).to.equal(!isRedacted)
        }
        const fresh = new TailClient(url('').slice(0, -'/v1'.length), 's2', 'cursor=3')
        await fresh.until((client) => client.events.length === 10)
        const [event] = fresh.events.map((event) => JSON.parse(event))
        expect(event).to.deep.include({
          seq: 4,
          type: 'content',
          actor: 'user:u',
          payload: {},
          redacted: true,
        })
        expect(JSON.stringify(fresh.events[8])).not.to.include(SECRET)
        fresh.close()
      }
    }
    await expectRedacted()
    for (const { json } of receipts) await done(json.id)
    await expectRedacted()
    const again = await call('POST', B('/sessions/s2/events/4/redact'))
    expect([again.status, again.json.id]).to.deep.equal([200, receipts[0]?.json.id])
    const beyond = await call('POST', B('/sessions/s2/events/99/redact'))
    expect([beyond.status, beyond.json.error]).to.deep.equal([404, 'event_not_found'])
    await append('s2', 1)
    for (const tail of tails) {
      await tail.until((client) => client.events.length === 14)
      tail.close()
    }
    await call('DELETE', A('/sessions/s2'))
  })

  it('refuses what is under a legal hold, and what it does not know', async () => {
    await session('s3', 2)
    await db.query(`select starcite.hold_session('default', 's3', 'a case')`)
    for (const [method, path] of [
      ['DELETE', '/sessions/s3'],
      ['POST', '/sessions/s3/events/1/redact'],
    ] as const) {
      const { status, json } = await call(method, A(path))
      expect([status, json.error]).to.deep.equal([409, 'legal_hold'])
    }
    expect((await call('GET', B('/sessions/s3/events'))).json.events).to.have.lengthOf(2)
    await db.query(`select starcite.release_session('default', 's3')`)
    for (const body of ['{"reason":5}', '{"vacuum":"yes"}', '[]', `{"reason":"${'x'.repeat(501)}"}`])
      expect((await call('DELETE', A('/sessions/s3'), body)).status, body).to.equal(400)
    expect((await call('DELETE', A('/sessions/none'))).json.error).to.equal('session_not_found')
    expect((await call('GET', A('/erasures/none'))).json.error).to.equal('erasure_not_found')
    expect((await call('GET', A(`/erasures/${randomUUID()}`))).json.error).to.equal('erasure_not_found')
    expect((await call('DELETE', A('/sessions/s3'), { vacuum: true })).status).to.equal(202)
  })

  it('is before or after each append that is in flight: none is answered 201 that the erasure does not cover', async () => {
    await session('s4', 1)
    const appends = Array.from({ length: 60 }, (_, n) =>
      call('POST', (n % 2 ? A : B)('/sessions/s4/append'), { type: 't', payload: { n, text: SECRET } }),
    )
    const receipt = await call('DELETE', B('/sessions/s4'))
    const answers = await Promise.all(appends)

    const stored = answers.filter((answer) => answer.status === 201)
    expect(answers.every((answer) => answer.status === 201 || answer.status === 410)).to.equal(true)
    for (const { json } of stored) expect(json.seq).to.be.at.most(receipt.json.last_seq)
    expect(receipt.json.last_seq).to.equal(stored.length + 1)
    await done(receipt.json.id)
    expect(
      await residueOf(db, store, SECRET).then((places) => places.filter((place) => /events/.test(place))),
    ).to.deep.equal([])
  })
})
