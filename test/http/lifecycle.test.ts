import { expect } from 'chai'
import { ANYONE, type Principal, SCOPES } from '../../src/auth/principal.ts'
import { at, expectError, unique } from '../support/answers.ts'
import { call } from '../support/client.ts'
import { EventStreamClient } from '../support/eventStreamClient.ts'
import { Guests, startGuardedNode } from '../support/guardedNode.ts'
import { startNode } from '../support/node.ts'
import { SocketClient } from '../support/socketClient.ts'
import { until } from '../support/until.ts'
import { use } from '../support/use.ts'
import { useConnection, useDatabase, useNode } from '../support/useNode.ts'

const OK = { status: 'ok', response: {} }
const refused = (reason: string) => ({ status: 'error', response: { reason } })
const BAD_CURSORS = ['', '7', '1.2.3', 'x', '-1.0', '1.2', '1.0 ', '1e3.1', '0.0\n', `${'9'.repeat(16)}.0`]

describe('the lifecycle feed over HTTP', () => {
  const database = useDatabase()
  const db = useConnection(database)
  const node = useNode(database, { STARCITE_SSE_KEEPALIVE: '100ms' })
  const guarded = use(() => startGuardedNode(database, guests))
  const guests = new Guests()
  const streams: EventStreamClient[] = []
  const sockets: SocketClient[] = []

  afterEach(() => {
    for (const connection of [...streams.splice(0), ...sockets.splice(0)]) connection.close()
  })

  async function stream(query = '', headers = {}, base = node.url): Promise<EventStreamClient> {
    const opened = new EventStreamClient(`${base}/v1/lifecycle?${query}`, headers)
    streams.push(opened)
    await opened.until('an answer', ({ response }) => response !== undefined)
    return opened
  }
  async function socket(query?: string, base = node.url): Promise<SocketClient> {
    const opened = await SocketClient.open(base, query)
    sockets.push(opened)
    return opened
  }
  const create = async (body: object = {}): Promise<string> =>
    (await call('POST', `${node.url}/v1/sessions`, { id: unique(), ...body })).json.id
  const archive = (id: string) => call('POST', at(node.url, id, '/archive'))
  const pushed = (client: SocketClient) =>
    client.frames
      .filter((frame) => frame[2] === 'lifecycle' && frame[3] === 'lifecycle')
      .map((frame) => frame[4])
  function principal(of: Partial<Principal> = {}): string {
    const token = unique('token')
    const service = { tenantId: 'acme', actor: 'service:worker', kind: 'service', scopes: SCOPES } as const
    guests.admit(token, { ...ANYONE, ...service, ...of })
    return token
  }

  it('tells of each change in the form of the contract, the same on both transports', async () => {
    const client = await socket()
    expect(await client.join('lifecycle')).to.deep.equal(OK)
    const sse = await stream()
    await sse.until('where it stands', ({ lastEventId }) => lastEventId !== '')
    const id = await create({ title: 'Draft "1"', metadata: { b: 1, a: [] } })
    const untitled = await create()
    await call('PATCH', at(node.url, id), '{"metadata":{\n"n"\r\n:1.0}}')
    await call('PATCH', at(node.url, id), { title: null })
    const { json: archived } = await archive(id)
    await archive(id)
    await call('POST', at(node.url, id, '/unarchive'))
    await call('POST', at(node.url, id, '/events'), { events: Array(3).fill({ type: 'n', payload: {} }) })
    await sse.until('the append', ({ text }) => text.includes('session.appended'))
    await db.query('update starcite.sessions s set erased_at = now() where s.id = $1', [untitled])
    await sse.until('all', ({ messages }) => messages.length === 10)
    await until('all on the socket', () => pushed(client).length === 10)

    const whole = { session_id: id, tenant_id: 'default' }
    const other = { session_id: untitled, tenant_id: 'default' }
    const messages = sse.messages.map(({ data }) => JSON.parse(data))
    const times = messages.map(({ event }) => event.created_at ?? event.updated_at)
    const metadata = { b: 1, a: [] }
    expect(messages.map(({ event }) => event)).to.deep.equal([
      { kind: 'session.activated', ...whole },
      {
        kind: 'session.created',
        ...whole,
        title: 'Draft "1"',
        metadata,
        created_at: archived.created_at,
        version: 1,
      },
      { kind: 'session.activated', ...other },
      { kind: 'session.created', ...other, metadata: {}, created_at: times[3], version: 1 },
      {
        kind: 'session.updated',
        ...whole,
        title: 'Draft "1"',
        metadata: { ...metadata, n: 1 },
        updated_at: times[4],
        version: 2,
      },
      {
        kind: 'session.updated',
        ...whole,
        metadata: { ...metadata, n: 1 },
        updated_at: times[5],
        version: 3,
      },
      { kind: 'session.archived', ...whole, archived: true },
      { kind: 'session.unarchived', ...whole, archived: false },
      { kind: 'session.appended', ...whole, last_seq: 3 },
      { kind: 'session.erased', ...other },
    ])
    for (const time of [times[3], times[4], times[5]])
      expect(time).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
    expect(sse.text).to.include('"n":1.0').and.to.include('event: lifecycle\nid: ')
    expect(pushed(client)).to.deep.equal(messages)
    expect(sse.messages.map((message) => message.id)).to.deep.equal(messages.map(({ cursor }) => cursor))
  })

  it('is an event stream for every Accept header, and HEAD has its headers alone', async () => {
    for (const accept of ['text/event-stream', '*/*', 'application/json']) {
      const { response } = await stream('', { accept, origin: 'http://localhost:5173' })
      expect(response?.statusCode).to.equal(200)
      expect(response?.headers).to.include({
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-cache, no-transform',
        'access-control-allow-origin': 'http://localhost:5173',
      })
    }
    const head = await call('HEAD', `${node.url}/v1/lifecycle`)
    expect([head.status, head.headers.get('content-type'), head.text]).to.deep.equal([
      200,
      'text/event-stream; charset=utf-8',
      '',
    ])
    expectError(await call('POST', `${node.url}/v1/lifecycle`, {}), 405, 'method_not_allowed')
  })

  it('begins with where it stands, so that one cut off before the first event misses nothing', async () => {
    const quiet = await stream()
    await quiet.until('a comment', ({ comments, lastEventId }) => comments.length > 0 && lastEventId !== '')
    expect(quiet.text).to.match(/^retry: 1000\nid: \d+\.\d+\n\n(:\n)+$/)
    quiet.close()

    const id = await create()
    const back = await stream('', { 'last-event-id': quiet.lastEventId })
    await back.until('the creation', ({ messages }) => messages.length === 2)
    expect(back.events.map((event) => JSON.parse(event).event.session_id)).to.deep.equal([id, id])
  })

  it('goes on after any cursor, of either transport on the other; Last-Event-ID before the query', async () => {
    const first = await stream()
    const id = await create()
    await archive(id)
    await first.until('all', ({ messages }) => messages.length === 3)
    const [activated, created, last] = first.messages.map((message) => message.id)

    const client = await socket()
    await client.join('lifecycle', { cursor: activated })
    await until('the rest', () => pushed(client).length === 2)
    expect(pushed(client)).to.deep.equal(first.events.slice(1).map((event) => JSON.parse(event)))
    const again = await stream(`cursor=${created}`)
    const second = await stream(`cursor=${activated}`, { 'last-event-id': last })
    const other = await create()
    await again.until('the rest', ({ messages }) => messages.length === 3)
    await second.until('what is new', ({ messages }) => messages.length === 2)
    expect(again.events[0]).to.equal(first.events[2])
    expect(JSON.parse(second.events[0] ?? '').event.session_id).to.equal(other)
  })

  it('refuses what no feed has handed out as a cursor, and what is beyond its end', async () => {
    const { cursor } = await (async () => {
      const live = await stream()
      await live.until('where it stands', ({ lastEventId }) => lastEventId !== '')
      return { cursor: live.lastEventId }
    })()
    const [place, number] = cursor.split('.').map(Number) as [number, number]
    const beyond = [`${place + 1000}.${number}`, `${place}.${number + 1}`]
    const client = await socket()
    for (const [i, bad] of [...BAD_CURSORS, ...beyond].entries()) {
      const field = { field: 'cursor' }
      const answer = await call('GET', `${node.url}/v1/lifecycle?cursor=${encodeURIComponent(bad)}`)
      expectError(answer, 400, 'invalid_cursor', field)
      expect(await client.join('lifecycle', { cursor: bad }, String(i))).to.deep.equal(
        refused('invalid_cursor'),
      )
    }
    for (const [i, bad] of [7, {}, [], true].entries())
      expect(await client.join('lifecycle', { cursor: bad }, `x${i}`)).to.deep.equal(
        refused('invalid_cursor'),
      )
    expectError(
      await call('GET', `${node.url}/v1/lifecycle`, undefined, { 'last-event-id': 'x' }),
      400,
      'invalid_cursor',
      { field: 'Last-Event-ID' },
    )
    expectError(await call('GET', `${node.url}/v1/lifecycle?cursor=0.0&cursor=0.0`), 400, 'invalid_cursor')
    expect(await client.join('lifecycle', { cursor: null }, 'null')).to.deep.equal(OK)
  })

  it('ends when the node drains, and is resumed on another', async () => {
    const draining = await startNode(database)
    const [sse, client] = [await stream('', {}, draining.url), await socket(undefined, draining.url)]
    await client.join('lifecycle')
    const id = await create()
    await sse.until('the creation', ({ messages }) => messages.length === 2)
    await draining.stop()
    await sse.until('the end', ({ ended }) => ended)
    expect(await client.end()).to.deep.equal({ code: 1012, reason: 'draining' })
    await archive(id)

    const back = await stream('', { 'last-event-id': sse.lastEventId })
    await back.until('the rest', ({ messages }) => messages.length === 1)
    expect(JSON.parse(back.events[0] ?? '').event).to.include({ kind: 'session.archived', session_id: id })
  })

  it('ends for a reader that takes nothing at all, and gives the rest to one that comes back', async () => {
    const small = await startNode(database, { STARCITE_STALL_TIMEOUT: '300ms' })
    const slow = await stream('', {}, small.url)
    await slow.until('where it stands', ({ lastEventId }) => lastEventId !== '')
    slow.response?.pause()
    await db.query(
      `select starcite.create_session('default', 'large ' || n, null, json_build_object('text', repeat('x', 900000)))
         from generate_series(1, 12) n`,
    )
    const open = async () =>
      (await call('GET', `${small.url}/metrics`)).text.includes('starcite_lifecycle_followers 1')
    await until('the stream has been given up', async () => !(await open()))
    slow.response?.resume()
    await slow.until('the end', ({ ended }) => ended)
    expect(slow.messages.length).to.be.below(24)

    const rest = await stream('', { 'last-event-id': slow.lastEventId }, small.url)
    await rest.until('the rest', ({ messages }) => messages.length + slow.messages.length === 24)
    const created = [...slow.events, ...rest.events]
      .map((text) => JSON.parse(text).event)
      .filter((_, i) => i % 2 === 1)
    expect(created.map((change) => change.session_id)).to.deep.equal(
      Array.from({ length: 12 }, (_, i) => `large ${i + 1}`),
    )
    await small.stop()
  })

  describe('with authentication', () => {
    for (const [what, who, code] of [
      ['lacks the scope', { scopes: new Set(['session:append'] as const), kind: 'user' }, 'forbidden_scope'],
      ['is for one session', { sessionId: 'a', kind: 'user' }, 'forbidden_session'],
      ['is a user', { kind: 'user', actor: 'user:lena' }, 'forbidden'],
      ['is an agent', { kind: 'agent', actor: 'agent:a' }, 'forbidden'],
    ] as const)
      it(`refuses a token that ${what}, on the socket with the same reason`, async () => {
        const token = principal(who)
        const client = await socket(`vsn=2.0.0&token=${token}`, guarded.url)
        const answer = await call('GET', `${guarded.url}/v1/lifecycle?cursor=x`, undefined, {
          authorization: `Bearer ${token}`,
        })

        expectError(answer, 403, code)
        expect(await client.join('lifecycle')).to.deep.equal(refused(code))
        expect(await client.join('lifecycle', { cursor: 'x' }, '2')).to.deep.equal(refused('invalid_cursor'))
      })

    it('takes the token of an event stream in the query, and ends it with the token', async () => {
      const url = `${guarded.url}/v1/lifecycle`
      expectError(await call('GET', url), 401, 'unauthorized')
      const token = principal({ expiresAtMs: Date.now() + 500 })

      const ending = await stream(`access_token=${token}`, {}, guarded.url)
      expect(ending.response?.statusCode).to.equal(200)
      await ending.until('the end', ({ ended }) => ended)
    })

    it('lets services of a tenant see their own tenant alone', async () => {
      const acme = await socket(`vsn=2.0.0&token=${principal()}`, guarded.url)
      const other = await socket(`vsn=2.0.0&token=${principal({ tenantId: 'other' })}`, guarded.url)
      for (const client of [acme, other])
        expect(await client.join('lifecycle', { cursor: '0.0' })).to.deep.equal(OK)
      for (const tenantId of ['acme', 'other'])
        await guarded.sessions.create({
          tenantId,
          id: `of ${tenantId}`,
          title: null,
          metadata: '{}',
          creatorPrincipal: null,
        })
      for (const [client, tenantId] of [
        [acme, 'acme'],
        [other, 'other'],
      ] as const) {
        await until('its own', () => pushed(client).length === 2)
        for (const { event } of pushed(client) as { event: object }[])
          expect(event).to.include({ session_id: `of ${tenantId}`, tenant_id: tenantId })
      }
    })

    it('ends with the token, and for a token renewed by one who may not', async () => {
      const token = principal({ expiresAtMs: Date.now() + 500 })
      const client = await socket(`vsn=2.0.0&token=${token}`, guarded.url)
      await client.join('lifecycle')
      expect((await client.event('token_expired'))[2]).to.equal('lifecycle')

      const second = await socket(`vsn=2.0.0&token=${principal()}`, guarded.url)
      await second.join('lifecycle')
      second.send([null, '2', 'phoenix', 'auth', { token: principal({ sessionId: 'a' }) }])
      expect((await second.event('phx_error'))[2]).to.equal('lifecycle')
      expect(await second.join('lifecycle', {}, '3')).to.deep.equal(refused('forbidden_session'))
    })
  })

  it('comes from a record that says which request made each change', async () => {
    const headers = { 'x-request-id': 'req-1' }
    const id = unique()
    await call('POST', `${node.url}/v1/sessions`, { id }, headers)
    await call('PATCH', at(node.url, id), { title: 'x' }, { 'x-request-id': 'req-2' })
    await call('POST', at(node.url, id, '/archive'), undefined, { 'x-request-id': 'req-3' })
    const { rows } = await db.query(
      `select c.kind, c.actor, c.request_id from starcite.session_changes c join starcite.sessions s on s.sid = c.sid
        where s.id = $1 order by c.change_id`,
      [id],
    )

    expect(rows).to.deep.equal([
      { kind: 'created', actor: null, request_id: 'req-1' },
      { kind: 'updated', actor: null, request_id: 'req-2' },
      { kind: 'archived', actor: null, request_id: 'req-3' },
    ])
  })
})
