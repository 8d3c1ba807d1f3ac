import { once } from 'node:events'
import { expect } from 'chai'
import type { Service } from '../../src/service.ts'
import { at, expectError, unique } from '../support/answers.ts'
import { call, refusedUpgrade, TailClient } from '../support/client.ts'
import { EventStreamClient } from '../support/eventStreamClient.ts'
import { EVERY_CALL, OPEN_CALLS, SERVICE_CALLS } from '../support/everyCall.ts'
import { Issuer, inSeconds } from '../support/issuer.ts'
import { runProgram, startNode } from '../support/node.ts'
import type { FreshDatabase } from '../support/postgres.ts'
import { SocketClient } from '../support/socketClient.ts'
import { migratedDatabase } from '../support/template.ts'
import { timed, until } from '../support/until.ts'

const EVENT = { type: 'note', payload: {} }

describe('tokens', () => {
  let database: FreshDatabase
  let issuer: Issuer
  let node: Service
  let ann: { authorization: string }
  let id: string
  const tails: TailClient[] = []

  before(async () => {
    database = await migratedDatabase()
    issuer = await Issuer.start()
    node = await startNode(database, {
      ...issuer.settings,
      STARCITE_AUTH_JWT_LEEWAY_SECONDS: '0',
      STARCITE_AUTH_JWKS_REFRESH_MS: '100',
    })
    ann = await issuer.bearer()
  })
  beforeEach(async () => {
    const created = await call('POST', `${node.url}/v1/sessions`, { id: unique() }, ann)
    expect(created.status, created.text).to.equal(201)
    id = created.json.id
  })
  afterEach(() => {
    for (const tail of tails.splice(0)) tail.close()
  })
  after(async () => {
    await node?.stop()
    await issuer?.stop()
    await database?.drop()
  })

  function tail(query: string, headers: Readonly<Record<string, string>> = {}): TailClient {
    const opened = new TailClient(node.url, id, query, headers)
    tails.push(opened)
    return opened
  }
  const append = (body: object, headers: object) =>
    call('POST', at(node.url, id, '/append'), { ...EVENT, ...body }, { ...headers })

  describe('open every call of the API, and nothing else does', () => {
    for (const { name, operation, send, scope, isOfSession, letIn } of EVERY_CALL) {
      const isOfEvent = operation.path.includes(':seq')
      it(`${name}: without one 401, without ${scope} 403`, async () => {
        if (isOfEvent) await append({}, ann)
        const missing = await send(node.url, id)
        expectError(missing, 401, 'unauthorized', { token_missing: true })
        expect(missing.headers.get('www-authenticate')).to.equal('Bearer realm="starcite"')

        const others = ['session:create', 'session:read', 'session:append'].filter((other) => other !== scope)
        const lacking = await send(node.url, id, await issuer.bearer({ scope: others.join(' ') }))
        expectError(lacking, 403, 'forbidden_scope', { required_scope: scope })
        expect(lacking.headers.get('www-authenticate')).to.match(
          new RegExp(
            `^Bearer realm="starcite", error="insufficient_scope", error_description=".+", scope="${scope}"$`,
          ),
        )

        const enough = await send(node.url, id, await issuer.bearer({ scope: undefined, scopes: [scope] }))
        expect(enough.status, enough.text).to.be.oneOf(letIn)
      })

      if (name === 'GET /v1/erasures/:erasure') continue // names no session: test/http/erasure.test.ts

      it(`${name}: with one that is locked to another session, ${isOfSession ? '403' : 'nothing of it'}`, async () => {
        if (isOfEvent) await append({}, ann)
        const locked = await issuer.bearer({ session_id: 'ses_other' })
        const answer = await send(node.url, id, locked)
        if (name === 'GET /v1/sessions')
          expect(answer.json).to.deep.equal({ sessions: [], next_cursor: null })
        else expectError(answer, 403, 'forbidden_session')
        // The same for a session that is not there.
        const absent = await send(node.url, unique(), locked)
        expect([absent.status, absent.text]).to.deep.equal([answer.status, answer.text])

        const own = await send(node.url, id, await issuer.bearer({ session_id: id }))
        expect(own.status, own.text).to.be.oneOf(letIn)
        if (name === 'GET /v1/sessions')
          expect(own.json.sessions.map((session: { id: string }) => session.id)).to.deep.equal([id])
      })
    }

    for (const { name, send } of SERVICE_CALLS)
      it(`${name}: only with that of a service, that is not locked to a session`, async () => {
        expectError(await send(node.url, id), 401, 'unauthorized', { token_missing: true })
        const service = { sub: 'service:billing' }
        const lacking = await issuer.bearer({ ...service, scope: 'session:create session:append' })
        expectError(await send(node.url, id, lacking), 403, 'forbidden_scope', {
          required_scope: 'session:read',
        })
        const locked = await issuer.bearer({ ...service, session_id: id })
        expectError(await send(node.url, id, locked), 403, 'forbidden_session')
        expectError(await send(node.url, id, ann), 403, 'forbidden')

        expect((await send(node.url, id, await issuer.bearer(service))).status).to.equal(200)
      })

    for (const { name, send } of OPEN_CALLS)
      it(`${name}: without one, and with anything else in its place`, async () => {
        expect((await send(node.url, id)).status).to.equal(200)
        expect((await send(node.url, id, { authorization: 'Basic eDp5' })).status).to.equal(200)
      })

    it('and a locked one can make its session, under the id of the lock alone', async () => {
      const own = unique()
      const locked = await issuer.bearer({ session_id: own })

      expectError(await call('POST', `${node.url}/v1/sessions`, {}, locked), 403, 'forbidden_session')
      expect((await call('POST', `${node.url}/v1/sessions`, { id: own }, locked)).json.id).to.equal(own)
    })

    it('but preflights and paths that there are not', async () => {
      const preflight = await call('OPTIONS', `${node.url}/v1/sessions`, undefined, {
        origin: 'https://app.example',
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization',
      })
      expect(preflight.status).to.equal(204)
      expect(preflight.headers.get('access-control-allow-headers')).to.equal('authorization')
      expectError(await call('GET', `${node.url}/v1/nothing`), 404, 'not_found')
      expectError(await call('PUT', `${node.url}/v1/sessions`, {}), 405, 'method_not_allowed')
      const refused = await call('GET', `${node.url}/v1/sessions`, undefined, {
        origin: 'https://app.example',
      })
      expect(refused.headers.get('access-control-allow-origin')).to.equal('*')
      expect(refused.headers.get('access-control-expose-headers')).to.include('WWW-Authenticate')
    })
  })

  describe('say who acts', () => {
    it('the creator of a session, regardless of the body', async () => {
      const bot = await issuer.bearer({ sub: 'svc:bot' })
      const body = { creator_principal: { tenant_id: 'other', id: 'user:mallory', type: 'user' } }

      const { json } = await call('POST', `${node.url}/v1/sessions`, body, bot)

      expect(json).to.deep.include({
        tenant_id: 'acme',
        creator_principal: { tenant_id: 'acme', id: 'svc:bot', type: 'service' },
      })
    })

    it('the actor of an event, which may be left out and must not be another', async () => {
      expect((await append({}, ann)).json.seq).to.equal(1)
      expect((await append({ actor: 'user:ann' }, ann)).json.seq).to.equal(2)
      expectError(await append({ actor: 'user:bob' }, ann), 403, 'actor_mismatch', { field: 'actor' })
      expectError(await append({ actor: 'ann' }, ann), 403, 'actor_mismatch')
      const batch = { events: [EVENT, { ...EVENT, actor: 'user:ann' }, { ...EVENT, actor: 'agent:x' }] }
      expectError(await call('POST', at(node.url, id, '/events'), batch, ann), 403, 'actor_mismatch', {
        index: 2,
        field: 'actor',
      })
      const lines = `${JSON.stringify(EVENT)}\n${JSON.stringify({ ...EVENT, actor: 'user:b' })}\n`
      expectError(
        await call('POST', at(node.url, id, '/events'), lines, {
          ...ann,
          'content-type': 'application/x-ndjson',
        }),
        403,
        'actor_mismatch',
        { index: 1 },
      )

      const { json } = await call('GET', at(node.url, id, '/events'), undefined, ann)
      expect(json.events.map((event: { actor: string }) => event.actor)).to.deep.equal([
        'user:ann',
        'user:ann',
      ])
    })

    it('another, whom a token with session:act_as names, and then the subject of the token beside it, on every read', async () => {
      const scope = 'session:create session:read session:append session:act_as'
      const backend = await issuer.bearer({ sub: 'service:backend', scope })
      const other = await issuer.bearer({ sub: 'service:other', scope })
      const live = tail('cursor=0', backend)

      const bySelf = [{}, { actor: 'service:backend' }]
      for (const body of bySelf) expect((await append(body, backend)).status).to.equal(201)
      const named = { actor: 'user:eve "é"', producer_id: 'p', producer_seq: 1, subject: 'service:forged' }
      expect((await append(named, backend)).json).to.include({ seq: 3, deduped: false })
      expect((await append(named, other)).json, 'who retries is not content').to.include({
        seq: 3,
        deduped: true,
      })
      const batch = { events: [{ ...EVENT, actor: 'agent:a' }, EVENT, { ...EVENT, actor: 'agent:b' }] }
      expect((await call('POST', at(node.url, id, '/events'), batch, other)).status).to.equal(201)
      const socket = await SocketClient.open(
        node.url,
        `vsn=2.0.0&token=${backend.authorization.slice('Bearer '.length)}`,
      )
      await socket.join(`tail:${id}`, { cursor: 6 })
      socket.send(['1', '2', `tail:${id}`, 'append', { ...EVENT, actor: 'agent:c' }])
      const pushed = await socket.reply('2')
      socket.ws.close()
      expect(pushed).to.deep.include({ status: 'ok' })

      const expected = [
        ['service:backend', undefined],
        ['service:backend', undefined],
        ['user:eve "é"', 'service:backend'],
        ['agent:a', 'service:other'],
        ['service:other', undefined],
        ['agent:b', 'service:other'],
        ['agent:c', 'service:backend'],
      ]
      type Shown = { readonly actor: string; readonly subject?: string }
      const shown = (events: readonly Shown[]) => events.map((event) => [event.actor, event.subject])
      const tailed = async (client: TailClient) => {
        await client.until(({ events }) => events.length === expected.length)
        return client.events.map((text) => JSON.parse(text))
      }
      expect(shown(await tailed(live))).to.deep.equal(expected)
      const history = await call('GET', at(node.url, id, '/events'), undefined, backend)
      expect(shown(history.json.events)).to.deep.equal(expected)
      expect(shown(await tailed(tail('cursor=0', ann)))).to.deep.equal(expected)
    })

    it('never another by a scope that is given by default', () => {
      const settings = { ...issuer.settings, STARCITE_AUTH_DEFAULT_SCOPES: 'session:append session:act_as' }
      expect(() => startNode(database, settings)).to.throw(/STARCITE_AUTH_DEFAULT_SCOPES must be some of/)
    })
  })

  describe('in the query', () => {
    it('let a tail in, and are looked at after the handshake and before the cursor', async () => {
      const token = await issuer.token()
      const live = tail(`cursor=0&access_token=${token}`)
      await append({}, ann)
      await live.until((client) => client.events.length === 1)

      const path = at(node.url, id, '/tail')
      expectError(await call('GET', path), 400, 'invalid_websocket_upgrade')
      expectError(await call('GET', `${path}?access_token=nonsense`), 400, 'invalid_websocket_upgrade')
      expectError(await refusedUpgrade(`${path}?cursor=x`), 401, 'unauthorized')
      expectError(await refusedUpgrade(`${path}?cursor=x&access_token=a.b.c`), 401, 'unauthorized')
      expectError(await refusedUpgrade(`${path}?access_token=${token}&cursor=x`), 400, 'invalid_cursor')
      expectError(await refusedUpgrade(`${path}?token=${token}`), 401, 'unauthorized', {
        token_missing: true,
      })
    })

    it('must not be two, nor differ from the header; the same in both will do', async () => {
      const [a, b] = [await issuer.token(), await issuer.token({ sub: 'user:bob' })]
      const path = at(node.url, id, '/tail')

      expectError(await refusedUpgrade(`${path}?access_token=${a}&access_token=${a}`), 401, 'unauthorized')
      expectError(
        await refusedUpgrade(`${path}?access_token=${b}`, { authorization: `Bearer ${a}` }),
        401,
        'unauthorized',
      )
      const both = tail(`access_token=${a}&follow=false`, { authorization: `Bearer ${a}` })
      await both.until((client) => client.closed !== undefined)
      expect(both.closed?.code).to.equal(1000)
    })

    it('are nothing to calls that can have headers', async () => {
      const token = await issuer.token()
      for (const path of ['', '/events', '/events?wait=0'])
        expectError(
          await call(
            'GET',
            `${at(node.url, id, path)}${path.includes('?') ? '&' : '?'}access_token=${token}`,
          ),
          401,
          'unauthorized',
          { token_missing: true },
        )
    })
  })

  /** In four seconds; later on a machine where a call takes long, so that a test comes before it. */
  async function soon(): Promise<number> {
    const { ms } = await timed(call('GET', at(node.url, id), undefined, ann))
    return inSeconds(4 + Math.floor(ms / 25))
  }

  describe('end', () => {
    it('and with them their tails: 4001 token_expired, and 401 to a client that reconnects with one', async () => {
      const token = await issuer.token({ exp: await soon() })
      const live = tail(`access_token=${token}`)
      await append({}, ann)
      await live.until((client) => client.events.length === 1)

      await live.until((client) => client.closed !== undefined)

      expect(live.closed).to.deep.equal({ code: 4001, reason: 'token_expired' })
      expectError(
        await refusedUpgrade(at(node.url, id, `/tail?access_token=${token}`)),
        401,
        'unauthorized',
        {
          token_expired: true,
        },
      )
      const late = await call('GET', at(node.url, id), undefined, { authorization: `Bearer ${token}` })
      expect(late.headers.get('www-authenticate')).to.equal(
        'Bearer realm="starcite", error="invalid_token", error_description="the token has expired"',
      )
    })

    it('also while a poll waits, which is then answered', async () => {
      const short = await issuer.bearer({ exp: await soon() })

      const { value, ms } = await timed(call('GET', at(node.url, id, '/events?wait=60'), undefined, short))

      expect([value.status, value.json]).to.deep.equal([200, { events: [], next_cursor: 0, last_seq: 0 }])
      expect(ms).to.be.below(30_000)
    })

    it('when their key is withdrawn: 4001 token_invalid', async () => {
      const live = tail('cursor=0', await issuer.bearer({ exp: inSeconds(1e9) }))
      await append({}, ann)
      await live.until((client) => client.events.length === 1)
      const { keys } = issuer
      issuer.keys = [{ ...issuer.key.jwk, kid: 'renamed' }]

      await live.until((client) => client.closed !== undefined)

      expect(live.closed).to.deep.equal({ code: 4001, reason: 'token_invalid' })
      expectError(await call('GET', at(node.url, id), undefined, ann), 401, 'unauthorized')
      issuer.keys = keys
      await until(
        'they are good again',
        async () => (await call('GET', at(node.url, id), undefined, ann)).status === 200,
      )
    })
  })

  describe('of event streams and of the socket', () => {
    it('let an event stream in by the query, and end it when they expire', async () => {
      const token = await issuer.token({ exp: await soon() })
      await append({}, ann)
      const stream = new EventStreamClient(at(node.url, id, `/tail?access_token=${token}`))
      await stream.until('the event', ({ messages }) => messages.length === 1)

      await stream.until('the end', ({ ended }) => ended)

      const back = await call('GET', at(node.url, id, `/tail?access_token=${token}`), undefined, {
        accept: 'text/event-stream',
      })
      expectError(back, 401, 'unauthorized', { token_expired: true })
    })

    it('let a socket in, say who appends, and end its topics when they expire', async () => {
      const token = await issuer.token({ exp: await soon() })
      const socket = await SocketClient.open(node.url, `vsn=2.0.0&token=${token}`)
      const topic = `tail:${id}`
      expect(await socket.join(topic)).to.deep.equal({ status: 'ok', response: {} })
      socket.send(
        ['1', '2', topic, 'append', { ...EVENT, actor: 'user:bob' }],
        ['1', '3', topic, 'append', EVENT],
      )

      expect(await socket.reply('2')).to.nested.include({
        status: 'error',
        'response.error': 'actor_mismatch',
      })
      expect(await socket.reply('3')).to.nested.include({ status: 'ok', 'response.seq': 1 })
      await until('the topic is over', () => socket.frames.some(([, , , event]) => event === 'phx_close'))
      expect(socket.events(topic)).to.have.length(1)
      expect(socket.events(topic)[0]).to.include({ seq: 1, actor: 'user:ann' })
      expect(socket.frames.map(([, , , event]) => event)).to.include('token_expired')
      socket.close()
    })

    it('keep a socket out: 403 without a body', async () => {
      for (const query of [
        'vsn=2.0.0',
        'vsn=2.0.0&token=x',
        `vsn=2.0.0&access_token=${await issuer.token()}`,
      ]) {
        const refused = new SocketClient(node.url, query)
        const [, response] = await once(refused.ws, 'unexpected-response')
        expect([response.statusCode, response.headers['content-length']], query).to.deep.equal([403, '0'])
        refused.ws.terminate()
      }
    })
  })

  it('are in no log, at any level, nor in metrics', async () => {
    const { child, output } = runProgram({
      DATABASE_URL: database.url,
      ...issuer.settings,
      STARCITE_LOG_LEVEL: 'trace',
    })
    try {
      const base = await until(
        'the node is ready',
        () => /"url":"([^"]+)"[^\n]*"msg":"ready"/.exec(output())?.[1],
      )
      const token = await issuer.token()
      const signature = token.split('.')[2] as string
      const bad = `${token.slice(0, -4)}AAAA`
      const path = at(base, id, '')
      for (const credential of [token, bad, 'a.b.c']) {
        await call('GET', path, undefined, { authorization: `Bearer ${credential}` })
        await call('GET', `${path}?access_token=${credential}`)
        await call('GET', `${base}/v1/nothing?access_token=${credential}`)
        await call('GET', `${path}/tail?access_token=${credential}`)
      }
      await refusedUpgrade(`${path}/tail?cursor=7&access_token=${token}`)
      await refusedUpgrade(`${path}/tail?access_token=${bad}`)
      const live = new TailClient(base, id, `follow=false&access_token=${token}`)
      await live.until((client) => client.closed !== undefined)
      const metrics = (await call('GET', `${base}/metrics`)).text

      await until('the requests are logged', () => output().split('"status"').length > 10)
      for (const text of [output(), metrics])
        for (const secret of [signature, signature.slice(0, 20), token.split('.')[1] as string])
          expect(text).not.to.include(secret)
    } finally {
      child.kill('SIGKILL')
    }
  })
})

describe('tokens of a node that has no keys yet', () => {
  it('are answered 503, until they can be judged; the rest of the node works', async () => {
    const database = await migratedDatabase()
    const issuer = await Issuer.start()
    issuer.answer = (res) => res.socket?.destroy()
    const node = await startNode(database, issuer.settings)
    try {
      const bearer = await issuer.bearer()
      const list = () => call('GET', `${node.url}/v1/sessions`, undefined, bearer)

      expect((await call('GET', `${node.url}/health/ready`)).status).to.equal(200)
      const refused = await list()
      expectError(refused, 503, 'auth_unavailable', { retry_after_ms: 1000 })
      expect(refused.headers.get('retry-after')).to.equal('1')
      expectError(await call('GET', `${node.url}/v1/sessions`), 401, 'unauthorized')
      expect((await call('GET', `${node.url}/metrics`)).text).to.match(/^starcite_jwks_age_seconds \+?Inf/m)

      issuer.answer = undefined
      await until('the keys are there', async () => (await list()).status === 200)
    } finally {
      await node.stop()
      await issuer.stop()
      await database.drop()
    }
  })
})
