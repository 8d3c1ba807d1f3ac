import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect } from 'chai'
import Koa from 'koa'
import { loadConfig } from '../../src/config.ts'
import { readBody } from '../../src/http/body.ts'
import { errorResponses } from '../../src/http/errors.ts'
import { HttpServer } from '../../src/http/server.ts'
import { createLog } from '../../src/ops/log.ts'
import { at, unique } from '../support/answers.ts'
import { call, TailClient } from '../support/client.ts'
import { type RawAnswer, RawConnection } from '../support/rawHttp.ts'
import { until } from '../support/until.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

const EVENT = '{"type":"a","payload":{}}'
const CHUNKED = 'POST /v1/sessions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: '

function expectJsonError(answer: RawAnswer | undefined, status: number, code: string): void {
  expect([answer?.status, answer && JSON.parse(answer.body).error], answer?.headers).to.deep.equal([
    status,
    code,
  ])
  expect(answer?.headers).to.match(/^content-type: application\/json; charset=utf-8$/im)
  expect(answer?.headers).to.match(/^x-request-id: [\w-]+$/im)
}

describe('hostile clients', () => {
  const database = useDatabase()
  const node = useNode(database)
  let id: string
  const connections: RawConnection[] = []

  beforeEach(async () => {
    id = (await call('POST', `${node.url}/v1/sessions`, { id: unique() })).json.id
  })
  afterEach(async () => {
    for (const connection of connections.splice(0)) connection.destroy()
    // After the attack the node still works.
    expect((await call('POST', at(node.url, id, '/append'), EVENT)).status).to.equal(201)
  })

  async function connect(base = node.url): Promise<RawConnection> {
    const connection = await RawConnection.open(base)
    connections.push(connection)
    return connection
  }
  const request = (head: string, body = '') =>
    `${head}\r\nHost: x\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  const append = (body = EVENT) => request(`POST /v1/sessions/${id}/append HTTP/1.1`, body)
  const lastSeq = async () => (await call('GET', at(node.url, id))).json.last_seq

  describe('who send what is not HTTP', () => {
    for (const [what, bytes] of [
      ['noise', 'noise\r\n\r\n'],
      ['no method', ' / HTTP/1.1\r\n\r\n'],
      ['another version', 'GET / HTTP/9.9\r\n\r\n'],
      ['the beginning of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
      ['the beginning of TLS', Buffer.from('160301020001000001fc0303', 'hex')],
      ['a lone line feed in a header', 'GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n'],
      ['NUL in a header', 'GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n'],
      ['a space before the colon', 'GET / HTTP/1.1\r\nHost: x\r\nX : a\r\n\r\n'],
      ['two lengths', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
      [
        'a length and chunks',
        'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      ],
      ['a length of two values', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\na'],
      ['a length with a sign', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na'],
      ['chunks that are not the last coding', `${CHUNKED}chunked, identity\r\n\r\n0\r\n\r\n`],
      ['a coding that looks like chunks', `${CHUNKED}xchunked\r\n\r\n0\r\n\r\n`],
      ['a chunk whose line ends in a lone line feed', `${CHUNKED}chunked\r\n\r\n1\na\r\n0\r\n\r\n`],
      ['a header whose line ends in a lone carriage return', 'GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n'],
      ['a folded line before the first header', 'GET / HTTP/1.1\r\n Host: x\r\n\r\n'],
      ['NUL in the name of a header', 'GET / HTTP/1.1\r\nHost: x\r\nX\0: a\r\n\r\n'],
      ['a negative length', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n'],
      ['no Host', 'GET /health/live HTTP/1.1\r\n\r\n'],
    ] as const)
      it(`${what}: 400 bad_request, closed`, async () => {
        const connection = (await connect()).send(bytes)

        expectJsonError(await connection.answer(), 400, 'bad_request')
        await connection.closed()
      })

    it('a chunk of no size: an answer, and nothing is stored', async () => {
      const connection = (await connect()).send(
        `POST /v1/sessions/${id}/append HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`,
        '5\r\n{"typ\r\nzz\r\nx\r\n',
      )
      await connection.closed()

      expect(await lastSeq()).to.equal(0)
    })

    for (const [what, head] of [
      ['a header of 100 KB', `GET /health/live HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`],
      ['ten thousand headers', `GET /health/live HTTP/1.1\r\nHost: x\r\n${'X: y\r\n'.repeat(10_000)}\r\n`],
      ['a path of 100 KB', `GET /${'x'.repeat(100_000)} HTTP/1.1\r\nHost: x\r\n\r\n`],
    ] as const)
      it(`${what}: 431 headers_too_large, closed`, async () => {
        const connection = (await connect()).send(head)

        expectJsonError(await connection.answer(), 431, 'headers_too_large')
        await connection.closed()
      })

    it('an unknown expectation: ignored', async () => {
      const connection = (await connect()).send(
        'GET /health/live HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\n\r\n',
      )

      expect((await connection.answer())?.status).to.equal(200)
    })

    it('a CONNECT: closed', async () => {
      const connection = (await connect()).send('CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n')

      await connection.closed()
    })

    it('an upgrade to something else: answered as without it', async () => {
      const connection = (await connect()).send(
        'GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n',
      )

      expect((await connection.answer())?.status).to.equal(200)
    })

    it('a body behind an upgrade, which Node cannot read: 400 bad_request', async () => {
      const connection = (await connect()).send(
        `POST /v1/sessions/${id}/append HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: ${EVENT.length}\r\n\r\n${EVENT}`,
      )

      expectJsonError(await connection.answer(), 400, 'bad_request')
    })
  })

  describe('who hurry', () => {
    it('are answered in the order of their pipelined requests', async () => {
      const connection = (await connect()).send(
        append(),
        append('{"type":"b","payload":{}}'),
        request('GET /v1/nowhere HTTP/1.1'),
        append('not JSON'),
        request('GET /health/live HTTP/1.1'),
      )

      const answers = await connection.answers(5)

      expect(answers.map((answer) => answer.status)).to.deep.equal([201, 201, 404, 400, 200])
      expect(answers.slice(0, 2).map((answer) => JSON.parse(answer.body).seq)).to.deep.equal([1, 2])
    })

    it('and hang up before the answer have appended all the same', async () => {
      const connection = (await connect()).send(append())
      connection.socket.end()

      await until('the append is stored', async () => (await lastSeq()) === 1)
    })

    it('and close their side after the request are answered, and the connection ends', async () => {
      const connection = (await connect()).send(append(), append())
      connection.socket.end()

      const answers = await connection.answers(2)
      await connection.closed()

      expect(answers.map(({ status, body }) => [status, JSON.parse(body).seq])).to.deep.equal([
        [201, 1],
        [201, 2],
      ])
    })

    it('and close their side under a long-poll are answered at once with what there is', async () => {
      const connection = (await connect()).send(request(`GET /v1/sessions/${id}/events?wait=60 HTTP/1.1`))
      await until('it waits', async () =>
        /^starcite_tails 1$/m.test((await call('GET', `${node.url}/metrics`)).text),
      )
      connection.socket.end()

      const answer = await connection.answer()
      await connection.closed()

      expect(JSON.parse(answer?.body ?? '').events).to.deep.equal([])
    })

    it('and close their side behind a keep-alive answer are closed', async () => {
      const connection = (await connect()).send(append())
      await connection.answer()
      connection.socket.end()

      await connection.closed()
    })

    it('and close in the middle of a body have appended nothing', async () => {
      for (const [i, cut] of [1, 10, EVENT.length - 1].entries()) {
        const connection = await connect()
        connection.send(append().slice(0, -EVENT.length), EVENT.slice(0, cut))
        if (i === 0) connection.destroy()
        else connection.socket.end()
        await connection.closed()
      }

      expect(await lastSeq()).to.equal(0)
    })

    it('and close in the middle of headers, a hundred times', async () => {
      await Promise.all(
        Array.from({ length: 100 }, async () => {
          const connection = (await connect()).send('POST /v1/sessions HTTP/1.1\r\nHost: x\r\nCont')
          connection.socket.end()
          await connection.closed()
        }),
      )
    })

    it('and send a body where none belongs are answered', async () => {
      const connection = (await connect()).send(
        request('GET /health/live HTTP/1.1', EVENT),
        request(`POST /v1/sessions/${id}/archive HTTP/1.1`, EVENT),
        request('GET /health/live HTTP/1.1'),
      )

      expect((await connection.answers(3)).map((answer) => answer.status)).to.deep.equal([200, 200, 200])
    })
  })

  describe('who send too much', () => {
    const TEN_MB = Buffer.alloc(10 * 1024 * 1024, 'x')

    it('see the 413, not a reset', async () => {
      const connection = await connect()
      connection.send(
        `POST /v1/sessions/${id}/append HTTP/1.1\r\nHost: x\r\nContent-Length: ${TEN_MB.length}\r\n\r\n`,
        TEN_MB,
      )

      expectJsonError(await connection.answer(), 413, 'body_too_large')
    })

    it('see it when they send in chunks, too', async () => {
      const connection = await connect()
      connection.send(
        `POST /v1/sessions/${id}/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`,
        `${TEN_MB.length.toString(16)}\r\n`,
        TEN_MB,
        '\r\n0\r\n\r\n',
      )

      expectJsonError(await connection.answer(), 413, 'body_too_large')
    })

    it('and never come to an end are cut off', async () => {
      const connection = await connect()
      connection.send(
        `POST /v1/sessions/${id}/append HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n`,
      )
      for (let i = 0; i < 7; i += 1) connection.send(TEN_MB)

      expectJsonError(await connection.answer(), 413, 'body_too_large')
      await connection.closed()
    })

    it('take no memory for what is thrown away', async () => {
      setFlagsFromString('--expose-gc')
      const collect = runInNewContext('gc') as () => void
      const used = () => {
        collect()
        const { heapUsed, arrayBuffers } = process.memoryUsage()
        return heapUsed + arrayBuffers
      }
      const count = 20
      const before = used()
      const many = await Promise.all(
        Array.from({ length: count }, async () => {
          const connection = await connect()
          connection.send(
            `POST /v1/sessions/${id}/append HTTP/1.1\r\nHost: x\r\nContent-Length: ${TEN_MB.length + 1}\r\n\r\n`,
          )
          await new Promise((resolve) => connection.socket.write(TEN_MB, resolve))
          return connection
        }),
      )

      // Half of what was sent: far more than the node and the test hold meanwhile, far less than all of it.
      await until('most of it is thrown away', () => used() - before < (count * TEN_MB.length) / 2)
      for (const connection of many)
        expectJsonError(await connection.send('x').answer(), 413, 'body_too_large')
    })
  })

  it('a body in chunks of one byte: each byte is copied twice at most', async () => {
    const chunks = 50_000
    const { concat } = Buffer
    let copied = 0
    Buffer.concat = (list, length) => {
      const made = concat(list, length)
      copied += made.length
      return made
    }
    try {
      const body = Readable.from(Array.from({ length: chunks }, () => Buffer.from('1')))
      expect(await readBody(Object.assign(body, { headers: {} }) as IncomingMessage, chunks)).to.equal(
        '1'.repeat(chunks),
      )
    } finally {
      Buffer.concat = concat
    }
    expect(copied).to.be.at.most(2 * chunks)
  })

  describe('who dawdle', () => {
    let server: HttpServer
    let base: string

    before(async () => {
      const app = new Koa()
      app.use(errorResponses(createLog('silent')))
      app.use(async (ctx) => {
        ctx.body = await readBody(ctx.req, 1024)
      })
      server = await HttpServer.start(app, 0, '127.0.0.1', {
        keepAliveMs: 1000,
        requestMs: 200,
        headersMs: 100,
      })
      base = `http://127.0.0.1:${server.port}`
    })
    after(() => server.stop())

    for (const [what, bytes, drip] of [
      ['over the request line', 'GET /', 'x'],
      ['over headers', 'GET / HTTP/1.1\r\nHost: x\r\nX-A: ', 'x'],
      ['over a body', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx', 'x'],
      ['over chunks', 'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n', '1\r\nx\r\n'],
    ] as const)
      it(`${what}: 408 request_timeout, closed`, async () => {
        const connection = (await connect(base)).send(bytes)
        const dripping = setInterval(() => connection.send(drip), 30)

        expectJsonError(await connection.answer(), 408, 'request_timeout')
        clearInterval(dripping)
        await connection.closed()
      })

    it('and say nothing at all: closed', async () => {
      await (await connect(base)).closed()
    })

    it('are given bounded time on every node', () => {
      const { headersMs, requestMs, keepAliveMs } = loadConfig({}).http
      for (const ms of [headersMs, requestMs, keepAliveMs]) expect(ms).to.be.within(1, 120_000)
    })
  })

  describe('on a WebSocket', () => {
    /** A handshake by hand, so that anything can follow it. */
    async function openTail(): Promise<RawConnection> {
      const connection = await connect()
      const key = randomBytes(16).toString('base64')
      connection.send(
        `GET /v1/sessions/${id}/tail HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
          `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
      )
      const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
      await until('the handshake', () => connection.received.includes(accept))
      return connection
    }

    /** A frame as a client sends it, masked with zeros. */
    function frame(first: number, payload: Buffer, length = payload.length): Buffer {
      const head = Buffer.alloc(10)
      head[0] = first
      head[1] = 0x80 | 127
      head.writeBigUInt64BE(BigInt(length), 2)
      return Buffer.concat([head, Buffer.alloc(4), payload])
    }
    /** The code of the close frame that the node sent. */
    const closeCode = ({ received }: RawConnection) => {
      const at = received.lastIndexOf('\x88')
      return at === -1 ? undefined : Buffer.from(received.slice(at + 2, at + 4), 'latin1').readUInt16BE()
    }
    const text = (length: number) => Buffer.alloc(length, 'x')

    for (const [what, sent, code] of [
      ['a frame of 100 KB', frame(0x81, text(100_000)), 1009],
      ['a frame that says it has a terabyte', frame(0x82, text(0), 2 ** 40), 1009],
      ['a frame that says it has more than can be', frame(0x82, text(0), Number.MAX_SAFE_INTEGER), 1009],
      [
        'fragments that add up to 100 KB',
        Buffer.concat([frame(0x01, text(60_000)), frame(0x80, text(60_000))]),
        1009,
      ],
      [
        'a message in 600 fragments',
        Buffer.concat([frame(0x01, text(1)), ...Array.from({ length: 600 }, () => frame(0x00, text(1)))]),
        1008,
      ],
      ['a frame without a mask', Buffer.from([0x81, 0x01, 0x41]), 1002],
      ['reserved bits', frame(0xf1, text(1)), 1002],
      ['an opcode that does not exist', frame(0x83, text(1)), 1002],
      ['a continuation of nothing', frame(0x80, text(1)), 1002],
      ['a ping of 200 bytes', Buffer.from([0x89, 0x80 | 126, 0, 200, 0, 0, 0, 0, ...text(200)]), 1002],
      ['text that is no UTF-8', frame(0x81, Buffer.from([0xff, 0xfe])), 1007],
      ['noise', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 1002],
    ] as const)
      it(`${what}: closed with ${code}`, async () => {
        const connection = (await openTail()).send(sent)

        await until('a close frame', () => closeCode(connection) !== undefined)
        expect(closeCode(connection)).to.equal(code)
      })

    it('frames in text and binary are taken and nothing comes of them; pings are answered', async () => {
      const client = new TailClient(node.url, id, '')
      await until('the socket is open', () => client.socket.readyState === client.socket.OPEN)
      const pong = once(client.socket, 'pong')

      for (let i = 0; i < 500; i += 1) {
        client.socket.send('{"type":"append","payload":{}}')
        client.socket.send(randomBytes(1000))
        client.socket.send('')
      }
      client.socket.ping('still there?')
      expect(String((await pong)[0])).to.equal('still there?')
      await call('POST', at(node.url, id, '/append'), EVENT)
      await client.until(({ frames }) => frames.length === 1)

      expect(client.closed).to.equal(undefined)
      client.close()
    })

    it('a flood of pings by one who reads no pong is cut', async () => {
      const connection = await openTail()
      connection.socket.pause()
      const pings = Buffer.concat(
        Array.from({ length: 10_000 }, () =>
          Buffer.concat([Buffer.from([0x89, 0x80 | 125, 0, 0, 0, 0]), text(125)]),
        ),
      )
      const closed = connection.closed()
      while (!connection.ended && !connection.socket.writableNeedDrain) connection.send(pings)
      connection.socket.resume()

      await closed
    })

    it('one cut off in the middle of a frame leaves no tail behind', async () => {
      const tails = async () =>
        Number(/^starcite_tails (\d+)/m.exec((await call('GET', `${node.url}/metrics`)).text)?.[1])
      const connection = (await openTail()).send(frame(0x81, text(10), 1000))
      await until('the tail is open', async () => (await tails()) === 1)

      connection.destroy()

      await until('the tail is gone', async () => (await tails()) === 0)
    })

    it('one half-closed is closed', async () => {
      const connection = await openTail()
      connection.socket.end()

      await connection.closed()
    })
  })
})
