import { once } from 'node:events'
import type { Socket } from 'node:net'
import { expect } from 'chai'
import Koa from 'koa'
import { HttpServer } from '../../src/http/server.ts'
import { TailQuota } from '../../src/tail/quota.ts'
import { at, expectError, unique } from '../support/answers.ts'
import { type Answer, call, TailClient } from '../support/client.ts'
import { freePort, startNode } from '../support/node.ts'
import { RawConnection } from '../support/rawHttp.ts'
import { PATIENCE_MS, timed, until } from '../support/until.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

const KB = 1024
const EVENT = { type: 'a', payload: {} }
/** JSON of exactly so many bytes. */
const metadataOf = (bytes: number, character = 'x') => {
  const room = bytes - Buffer.byteLength('{"k":""}')
  return `{"k":"${character.repeat(room / Buffer.byteLength(character))}"}`
}

function expectRetryLater(answer: Answer, status: number, code: string): void {
  expectError(answer, status, code)
  expect(answer.json.retry_after_ms).to.be.a('number').and.be.at.least(1)
  expect(Number(answer.headers.get('retry-after'))).to.be.at.least(1)
}

describe('the limits of a node', () => {
  const database = useDatabase()
  const node = useNode(database, {
    STARCITE_MAX_EVENT_BYTES: '16KB',
    STARCITE_MAX_BATCH_BYTES: '64KB',
    STARCITE_MAX_BATCH_EVENTS: '3',
    STARCITE_MAX_SESSION_METADATA_BYTES: '1KB',
    STARCITE_MAX_EVENT_METADATA_BYTES: '2KB',
    STARCITE_MAX_SOCKETS: '2',
  })
  let id: string

  beforeEach(async () => {
    id = (await call('POST', `${node.url}/v1/sessions`, { id: unique() })).json.id
  })

  const append = (body: unknown) => call('POST', at(node.url, id, '/append'), body)
  const eventOf = (bytes: number) => {
    const body = `{"type":"a","payload":{"x":""}}`
    return body.replace('""', `"${'x'.repeat(bytes - body.length)}"`)
  }

  it('take a body up to the bound and refuse one byte more, of one event and of a batch', async () => {
    expect((await append(eventOf(16 * KB))).status).to.equal(201)
    expectError(await append(eventOf(16 * KB + 1)), 413, 'body_too_large', { max_bytes: 16 * KB })
    const batch = await call('POST', at(node.url, id, '/events'), `${' '.repeat(64 * KB)}{}`)
    expectError(batch, 413, 'body_too_large', { max_bytes: 64 * KB })
    const session = await call('POST', `${node.url}/v1/sessions`, `{"title":"${'x'.repeat(16 * KB)}"}`)
    expectError(session, 413, 'body_too_large', { max_bytes: 16 * KB })
  })

  it('take so many events in a batch and no more', async () => {
    const batch = (n: number) => call('POST', at(node.url, id, '/events'), { events: Array(n).fill(EVENT) })

    expect((await batch(3)).status).to.equal(201)
    expectError(await batch(4), 400, 'invalid_event', { field: 'events', max_events: 3 })
  })

  it('count the bytes of metadata and refs of an event, not its characters', async () => {
    for (const [field, code] of [
      ['metadata', 'invalid_metadata'],
      ['refs', 'invalid_refs'],
    ] as const)
      for (const character of ['x', '中']) {
        const event = (bytes: number) =>
          `{"type":"a","payload":{},"${field}":${metadataOf(bytes, character)}}`

        expect((await append(event(2 * KB))).status).to.equal(201)
        expectError(await append(event(2 * KB + 3)), 400, code, { field, max_bytes: 2 * KB })
        const batch = await call('POST', at(node.url, id, '/events'), `{"events":[${event(2 * KB + 3)}]}`)
        expectError(batch, 400, code, { field, index: 0 })
      }
  })

  it('bound the metadata, creator and title of a session', async () => {
    const create = (body: string) => call('POST', `${node.url}/v1/sessions`, body)

    expect((await create(`{"metadata":${metadataOf(KB)}}`)).status).to.equal(201)
    expectError(await create(`{"metadata":${metadataOf(KB + 1)}}`), 400, 'invalid_metadata', {
      field: 'metadata',
      max_bytes: KB,
    })
    expectError(
      await create(`{"creator_principal":{"id":"${'x'.repeat(400)}","more":"${'x'.repeat(KB)}"}}`),
      400,
      'invalid_session',
      { field: 'creator_principal' },
    )
    expect((await create(`{"title":"${'😀'.repeat(1024)}"}`)).status).to.equal(201)
    expectError(await create(`{"title":"${'x'.repeat(1025)}"}`), 400, 'invalid_session', { field: 'title' })
    expectError(await call('PATCH', at(node.url, id), { title: 'x'.repeat(1025) }), 400, 'invalid_session', {
      field: 'title',
    })
  })

  it('bound the metadata of a session as it is once merged, and leave the session as it was', async () => {
    const patch = (metadata: object, more = {}) => call('PATCH', at(node.url, id), { metadata, ...more })
    expect((await patch({ a: 'x'.repeat(600) })).status).to.equal(200)

    expectError(await patch({ b: 'x'.repeat(600) }, { title: 'new' }), 400, 'invalid_metadata', {
      field: 'metadata',
      max_bytes: KB,
    })

    expect((await call('GET', at(node.url, id))).json).to.include({ title: null, version: 2 })
    expect((await patch({ a: 'short', b: 'x'.repeat(600) })).json.version).to.equal(3)
    expectError(
      await patch({ c: 'x'.repeat(600) }, { expected_version: 1 }),
      409,
      'expected_version_conflict',
    )
  })

  it('take ids of 256 bytes and names of 512 characters', async () => {
    const create = (wanted: string) => call('POST', `${node.url}/v1/sessions`, { id: wanted })

    expect((await create(`${unique()}${'é'.repeat(128)}`.slice(0, 148))).status).to.equal(201)
    expectError(await create('é'.repeat(129)), 400, 'invalid_session', { field: 'id' })
    expectError(await append({ ...EVENT, type: 'x'.repeat(513) }), 400, 'invalid_event', { field: 'type' })
  })

  it('open so many sockets: then 503 too_many_sockets, and room again when one is closed', async () => {
    const clients = [new TailClient(node.url, id, ''), new TailClient(node.url, id, '')]
    await until('two sockets', () => clients.every(({ socket }) => socket.readyState === socket.OPEN))

    const connection = await RawConnection.open(node.url)
    connection.send(
      `GET /v1/sessions/${id}/tail HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`,
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
    )
    const refused = await connection.answer()

    expect([refused?.status, JSON.parse(refused?.body ?? '{}').error]).to.deep.equal([
      503,
      'too_many_sockets',
    ])
    expect(refused?.headers).to.match(/^retry-after: 1$/im)
    clients[0]?.close()
    await append(EVENT)
    await until('a socket is free', async () => {
      const client = new TailClient(node.url, id, '')
      await client.until(({ frames, closed }) => frames.length > 0 || closed !== undefined)
      client.close()
      return client.frames.length > 0
    })
    clients[1]?.close()
  })

  describe('for one tenant', () => {
    it('so many requests in a second: then 429 rate_limited, and again afterwards; health is not counted', async () => {
      const limited = await startNode(database, { STARCITE_TENANT_REQUESTS_PER_SECOND: '5' })
      try {
        const answers = await Promise.all(Array.from({ length: 20 }, () => call('GET', at(limited.url, id))))
        const refused = answers.filter(({ status }) => status !== 200)

        expect(refused.length).to.be.within(10, 15) // they may fall into two seconds
        for (const answer of refused) expectRetryLater(answer, 429, 'rate_limited')
        for (let i = 0; i < 10; i += 1)
          expect((await call('GET', `${limited.url}/health/live`)).status).to.equal(200)
        await until('the second is over', async () => (await call('GET', at(limited.url, id))).status === 200)
      } finally {
        await limited.stop()
      }
    })
  })

  describe('for one principal', () => {
    const ada = {
      tenantId: 'acme',
      actor: 'user:ada',
      kind: 'user' as const,
      scopes: new Set<never>(),
      sessionId: null,
      expiresAtMs: null,
    }

    it('so many tails: then too_many_tails, and room again when one ends; each has its own', () => {
      const quota = new TailQuota(2)
      const release = quota.take(ada)
      quota.take(ada)

      expect(() => quota.take(ada))
        .to.throw()
        .that.includes({ code: 'too_many_tails', status: 429 })
      for (const other of [{ actor: 'user:bob' }, { tenantId: 'other' }, { actor: null }])
        quota.take({ ...ada, ...other })
      release()
      quota.take(ada)
      expect(() => quota.take(ada)).to.throw()
    })
  })

  describe('for bodies that are arriving', () => {
    it('so much memory: then 429 append_backpressure, and room again when they have gone on', async () => {
      const small = await startNode(database, {
        STARCITE_BODY_MEMORY: '1MB',
        STARCITE_MAX_EVENT_BYTES: '2MB',
      })
      const head = (bytes: number) =>
        `POST /v1/sessions/${id}/append HTTP/1.1\r\nHost: x\r\nContent-Length: ${bytes}\r\n\r\n`
      const body = eventOf(900 * KB)
      const first = await RawConnection.open(small.url)
      const second = await RawConnection.open(small.url)
      try {
        first.send(head(body.length), body.slice(0, -1))
        await until('the first fills the memory', async () => {
          const { text } = await call('GET', `${small.url}/metrics`)
          return Number(/^starcite_body_bytes (\d+)$/m.exec(text)?.[1]) === body.length - 1
        })
        expectRetryLater(
          await call('POST', at(small.url, id, '/append'), eventOf(200 * KB)),
          429,
          'append_backpressure',
        )
        second.send(head(body.length), body)
        expect((await second.answer())?.headers).to.match(/^retry-after: 1$/im)
        expect(JSON.parse((await second.answer())?.body ?? '{}').error).to.equal('append_backpressure')

        expect((await first.send(body.slice(-1)).answer())?.status).to.equal(201)
        expect((await call('POST', at(small.url, id, '/append'), eventOf(200 * KB))).status).to.equal(201)
        const leaving = await RawConnection.open(small.url)
        leaving.send(head(body.length), body.slice(0, -1))
        leaving.socket.end()
        await leaving.closed()
        const alone = await call('POST', at(small.url, id, '/append'), eventOf(1536 * KB))
        expect(alone.status, 'one that is alone may be larger than the memory').to.equal(201)
      } finally {
        first.destroy()
        second.destroy()
        await small.stop()
      }
    })
  })

  describe('for connections and time', () => {
    it('so many connections: one more is closed at once, and one that closes makes room', async () => {
      const opsPort = String(await freePort())
      const few = await startNode(database, { STARCITE_MAX_CONNECTIONS: '2', STARCITE_OPS_PORT: opsPort })
      const fewOps = `http://127.0.0.1:${opsPort}`
      const held = [await RawConnection.open(few.url), await RawConnection.open(few.url)]
      try {
        await Promise.all(
          held.map((connection) => connection.send('GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n').answer()),
        )
        const third = await RawConnection.open(few.url)

        await third.closed()

        expect(third.received).to.equal('')
        const { text } = await call('GET', `${fewOps}/metrics`)
        expect(text).to.match(/^starcite_http_connections 2$/m)
        expect(text).to.match(/^starcite_http_connections_dropped_total 1$/m)
        held[0]?.destroy()
        await until(
          'there is room',
          async () => (await call('GET', `${few.url}/v1/sessions`).catch(() => undefined))?.status === 200,
        )
      } finally {
        for (const connection of held) connection.destroy()
        await few.stop()
      }
    })

    it('so much time for headers and bodies: then 408 request_timeout', async () => {
      const hasty = await startNode(database, {
        STARCITE_HEADERS_TIMEOUT: '200ms',
        STARCITE_REQUEST_TIMEOUT: '300ms',
      })
      try {
        for (const part of [
          'POST /v1/sessions HTTP/1.1\r\nHo',
          'POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{',
        ]) {
          const connection = await RawConnection.open(hasty.url)
          const { value, ms } = await timed(connection.send(part).answer())

          expect(JSON.parse(value?.body ?? '{}').error, value?.headers).to.equal('request_timeout')
          expect(ms).to.be.below(PATIENCE_MS)
          await connection.closed()
        }
      } finally {
        await hasty.stop()
      }
    })

    it('so much time without taking anything of a long answer: then it is cut, and its memory is free', async () => {
      const app = new Koa()
      const answering = new Promise<Socket>((resolve) => {
        app.use((ctx) => {
          ctx.body = 'x'.repeat(32 * KB * KB)
          resolve(ctx.req.socket)
        })
      })
      const times = { keepAliveMs: 10_000, requestMs: 10_000, headersMs: 10_000, stallMs: 150 }
      const server = await HttpServer.start(app, 0, '127.0.0.1', times)
      const connection = await RawConnection.open(`http://127.0.0.1:${server.port}`)
      try {
        connection.socket.pause()
        connection.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
        const peer = await answering

        await once(peer, 'close')

        connection.socket.resume()
        await connection.closed()
        expect(connection.received.length).to.be.below(32 * KB * KB)
      } finally {
        connection.destroy()
        server.stop()
      }
    })
  })
})
