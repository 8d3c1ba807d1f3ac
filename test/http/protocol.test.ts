import { gzipSync } from 'node:zlib'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { at, expectError, unique } from '../support/answers.ts'
import { call, request, TailClient } from '../support/client.ts'
import { freePort, startNode } from '../support/node.ts'
import { RawConnection } from '../support/rawHttp.ts'
import { until } from '../support/until.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

const EVENT = '{"type":"a","payload":{}}'

describe('HTTP conventions', () => {
  const database = useDatabase()
  const node = useNode(database, { STARCITE_CORS_ORIGIN: '*' })
  let id: string

  before(async () => {
    id = (await call('POST', `${node.url}/v1/sessions`, { id: unique() })).json.id
  })

  const to = (method: string, path: string, headers = {}, body?: string) =>
    call(method, node.url + path, body, headers)

  describe('unknown paths', () => {
    for (const path of [
      '/',
      '/v1',
      '/v1/',
      '/v2/sessions',
      '/v1/session',
      '/v1/sessions/x/nowhere',
      '/v1/sessions/x/events/1',
      '/V1/sessions',
      '/v1/sessions/a/b/append',
      '/favicon.ico',
      '/health',
      '/%',
      '/%00',
      "/v1/sessions/x/append'",
    ])
      it(`${path}: 404 not_found`, async () => {
        expectError(await to('GET', path), 404, 'not_found')
        expectError(await to('POST', path, {}, EVENT), 404, 'not_found')
      })
  })

  describe('known paths by another method', () => {
    for (const [method, path, allowed] of [
      ['DELETE', '/v1/sessions', ['HEAD', 'GET', 'POST']],
      ['PUT', '/v1/sessions', ['HEAD', 'GET', 'POST']],
      ['POST', '/v1/sessions/x', ['HEAD', 'GET', 'PATCH', 'DELETE']],
      ['PUT', '/v1/sessions/x', ['HEAD', 'GET', 'PATCH', 'DELETE']],
      ['GET', '/v1/sessions/x/append', ['POST']],
      ['PUT', '/v1/sessions/x/append', ['POST']],
      ['DELETE', '/v1/sessions/x/events', ['HEAD', 'GET', 'POST']],
      ['POST', '/v1/sessions/x/tail', ['HEAD', 'GET']],
      ['GET', '/v1/sessions/x/archive', ['POST']],
      ['PATCH', '/v1/sessions/x/unarchive', ['POST']],
      ['POST', '/health/live', ['HEAD', 'GET']],
      ['PROPFIND', '/v1/sessions', ['HEAD', 'GET', 'POST']],
      ['OPTIONS', '/v1/sessions/x/append', ['POST']],
    ] as const)
      it(`${method} ${path}: 405 method_not_allowed, with Allow`, async () => {
        const answer = await to(method, path)

        expectError(answer, 405, 'method_not_allowed')
        expect(answer.headers.get('allow')?.split(', ').sort()).to.deep.equal([...allowed].sort())
      })

    it('HEAD is GET without a body', async () => {
      const [head, get] = await Promise.all([
        to('HEAD', `/v1/sessions/${id}`),
        to('GET', `/v1/sessions/${id}`),
      ])

      expect([head.status, head.text]).to.deep.equal([200, ''])
      expect(head.headers.get('content-length')).to.equal(get.headers.get('content-length'))
    })
  })

  describe('the type of a body', () => {
    for (const type of [
      'application/json',
      'application/json; charset=utf-8',
      'application/json;charset="UTF-8"',
      'APPLICATION/JSON',
      'application/vnd.acme+json',
      ' application/json ',
    ])
      it(`${type} is taken`, async () => {
        expect(
          (await to('POST', `/v1/sessions/${id}/append`, { 'content-type': type }, EVENT)).status,
        ).to.equal(201)
      })

    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'application/json; charset=utf-16',
      'application/json; charset=latin1',
      'text/json',
      'application/jsonx',
      'application/xml',
      'json',
      '',
    ])
      it(`${type || 'an empty one'} is refused: 415 unsupported_media_type`, async () => {
        for (const [method, path] of [
          ['POST', '/v1/sessions'],
          ['PATCH', `/v1/sessions/${id}`],
          ['POST', `/v1/sessions/${id}/append`],
          ['POST', `/v1/sessions/${id}/events`],
        ] as const)
          expectError(await to(method, path, { 'content-type': type }, EVENT), 415, 'unsupported_media_type')
      })

    it('NDJSON is for batches alone', async () => {
      const headers = { 'content-type': 'application/x-ndjson' }

      expectError(
        await to('POST', `/v1/sessions/${id}/append`, headers, EVENT),
        415,
        'unsupported_media_type',
      )
      expectError(await to('POST', '/v1/sessions', headers, '{}'), 415, 'unsupported_media_type')
      expect((await to('POST', `/v1/sessions/${id}/events`, headers, EVENT)).status).to.equal(201)
    })

    it('none is taken for JSON', async () => {
      const connection = await RawConnection.open(node.url)
      connection.send(
        `POST /v1/sessions/${id}/append HTTP/1.1\r\nHost: x\r\nContent-Length: ${EVENT.length}\r\n\r\n${EVENT}`,
      )

      expect((await connection.answer())?.status).to.equal(201)
      connection.destroy()
    })

    for (const encoding of ['gzip', 'br', 'deflate', 'gzip, gzip', 'x'])
      it(`in Content-Encoding ${encoding} is refused: 415 unsupported_media_type`, async () => {
        const answer = await call('POST', at(node.url, id, '/append'), gzipSync(EVENT), {
          'content-encoding': encoding,
        })

        expectError(answer, 415, 'unsupported_media_type')
      })

    it('in Content-Encoding identity is taken', async () => {
      expect(
        (await to('POST', `/v1/sessions/${id}/append`, { 'content-encoding': 'identity' }, EVENT)).status,
      ).to.equal(201)
    })
  })

  describe('X-Request-Id', () => {
    for (const given of ['7', 'req_0-9.:/+=@-z', 'x'.repeat(128)])
      it(`is the caller's when it is sane: ${given.slice(0, 20)}`, async () => {
        for (const path of [`/v1/sessions/${id}`, '/v1/nowhere', '/health/live'])
          expect((await to('GET', path, { 'x-request-id': given })).headers.get('x-request-id')).to.equal(
            given,
          )
      })

    for (const given of ['', 'x'.repeat(129), 'a b', '<script>', 'a,b', 'é'])
      it(`is a new one when the caller's is not: ${given.slice(0, 20)}`, async () => {
        const [one, other] = await Promise.all(
          [1, 2].map(() => to('GET', '/v1/sessions', { 'x-request-id': given })),
        )

        expect(one?.headers.get('x-request-id')).to.match(/^[0-9a-f-]{36}$/)
        expect(one?.headers.get('x-request-id')).not.to.equal(other?.headers.get('x-request-id'))
      })
  })

  it('X-Request-Id is on the answer to an upgrade, too', async () => {
    for (const path of [`/v1/sessions/${id}/tail`, '/v1/socket/websocket?vsn=2.0.0']) {
      const socket = new WebSocket(node.url.replace('http', 'ws') + path, {
        headers: { 'x-request-id': 'mine-1' },
      })
      let given: unknown
      socket.on('upgrade', ({ headers }) => {
        given = headers['x-request-id']
      })
      await until('it is open', () => socket.readyState === socket.OPEN)
      expect(given).to.equal('mine-1')
      socket.terminate()
    }
    const tail = new TailClient(node.url, id, '')
    let made: unknown
    tail.socket.on('upgrade', ({ headers }) => {
      made = headers['x-request-id']
    })
    await until('it is open', () => made)
    expect(made).to.match(/^[0-9a-f-]{36}$/)
    tail.close()
  })

  describe('CORS', () => {
    const origin = { origin: 'https://app.example' }

    it('lets every origin in where that is set, without credentials, on answers and on errors', async () => {
      for (const answer of [
        await to('GET', `/v1/sessions/${id}`, origin),
        await to('GET', '/v1/nowhere', origin),
        await to('GET', `/v1/sessions/${unique()}`, origin),
        await to('POST', `/v1/sessions/${id}/append`, origin, 'not JSON'),
        await to('PUT', '/v1/sessions', origin),
        await to('POST', '/v1/sessions', { ...origin, 'content-type': 'text/plain' }, 'x'),
        await to('POST', `/v1/sessions/${id}/append`, origin, `"${'x'.repeat(2 ** 20)}"`),
      ]) {
        expect(answer.headers.get('access-control-allow-origin'), answer.text.slice(0, 80)).to.equal('*')
        expect(answer.headers.get('access-control-allow-credentials')).to.equal(null)
        expect(answer.headers.get('access-control-expose-headers'))
          .to.include('X-Request-Id')
          .and.include('Retry-After')
      }
    })

    it('answers every preflight request', async () => {
      for (const path of [
        '/v1/sessions',
        `/v1/sessions/${id}/append`,
        '/v1/sessions/nobody',
        '/v1/nowhere',
      ]) {
        const answer = await to('OPTIONS', path, {
          ...origin,
          'access-control-request-method': 'PATCH',
          'access-control-request-headers': 'content-type,authorization,x-request-id',
        })

        expect(answer.status).to.equal(204)
        expect(answer.headers.get('access-control-allow-origin')).to.equal('*')
        expect(answer.headers.get('access-control-allow-methods')).to.include('PATCH').and.include('POST')
        expect(answer.headers.get('access-control-allow-headers')).to.equal(
          'content-type,authorization,x-request-id',
        )
        expect(answer.headers.get('access-control-max-age')).to.equal('600')
        expect(answer.headers.get('x-request-id')).to.be.a('string')
      }
    })
  })

  describe('too large a body', () => {
    const tooLarge = (path: string, bytes: number) =>
      call('POST', node.url + path, `{"a":"${'x'.repeat(bytes)}"}`)

    it('is 413 body_too_large with the limit', async () => {
      expectError(await tooLarge('/v1/sessions', 2 ** 20), 413, 'body_too_large', { max_bytes: 2 ** 20 })
      expectError(await tooLarge(`/v1/sessions/${id}/append`, 2 ** 20), 413, 'body_too_large', {
        max_bytes: 2 ** 20,
      })
      expectError(await tooLarge(`/v1/sessions/${id}/events`, 2 ** 23), 413, 'body_too_large', {
        max_bytes: 2 ** 23,
      })
    })

    it('is counted in bytes, and one of exactly the limit is taken', async () => {
      const body = (bytes: number) =>
        `{"type":"a","payload":{"t":"${'é'.repeat(100)}${'x'.repeat(bytes - 231)}"}}`

      expect(Buffer.byteLength(body(2 ** 20))).to.equal(2 ** 20)
      expect((await call('POST', at(node.url, id, '/append'), body(2 ** 20))).status).to.equal(201)
      expectError(await call('POST', at(node.url, id, '/append'), `${body(2 ** 20)} `), 413, 'body_too_large')
    })
  })

  describe('health and metrics', () => {
    it('say that the node lives and is ready', async () => {
      for (const path of ['/health/live', '/health/ready']) {
        const answer = await to('GET', path)
        expect([answer.status, answer.json]).to.deep.equal([200, { status: 'ok' }])
      }
    })

    it('are in the text format of Prometheus, without what clients choose', async () => {
      const secret = unique('secret')
      await call('POST', `${node.url}/v1/sessions`, { id: secret })
      await call('POST', at(node.url, secret, '/append'), { type: secret, payload: {}, actor: secret })

      const { text, headers } = await to('GET', '/metrics')

      expect(headers.get('content-type')).to.match(/^text\/plain/)
      expect(text)
        .to.match(/^starcite_events_append_total [1-9]/m)
        .and.not.include(secret)
    })

    it('move to a port of their own when it is set', async () => {
      const opsPort = await freePort()
      const other = await startNode(database, { STARCITE_OPS_PORT: String(opsPort) })
      const ops = `http://127.0.0.1:${opsPort}`

      for (const path of ['/health/live', '/health/ready', '/metrics']) {
        expectError(await call('GET', other.url + path), 404, 'not_found')
        expect((await call('GET', ops + path)).status).to.equal(200)
      }
      expectError(await request('GET', `${ops}/v1/sessions`), 404, 'not_found')
      await other.stop()
    })
  })
})
