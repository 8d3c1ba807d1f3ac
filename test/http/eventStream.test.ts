import { execFile } from 'node:child_process'
import { expect } from 'chai'
import { at, expectError, unique } from '../support/answers.ts'
import { call } from '../support/client.ts'
import { EventStreamClient } from '../support/eventStreamClient.ts'
import { startNode } from '../support/node.ts'
import { RawConnection } from '../support/rawHttp.ts'
import { until } from '../support/until.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

const SSE = { accept: 'text/event-stream' }
const seqsFrom = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, i) => first + i)

describe('tails as server-sent events', () => {
  const database = useDatabase()
  const node = useNode(database, { STARCITE_SSE_KEEPALIVE: '100ms' })
  const streams: EventStreamClient[] = []

  afterEach(() => {
    for (const stream of streams.splice(0)) stream.close()
  })

  async function session(count = 0): Promise<string> {
    const { id } = (await call('POST', `${node.url}/v1/sessions`, { id: unique() })).json
    if (count > 0) await append(id, count)
    return id
  }
  const append = (id: string, count: number) =>
    call('POST', at(node.url, id, '/events'), {
      events: seqsFrom(1, count).map((n) => ({ type: 'n', payload: { n } })),
    })
  const history = async (id: string): Promise<string> =>
    (await call('GET', at(node.url, id, '/events?limit=1000'))).text
  function stream(id: string, query = '', headers = {}, base = node.url): EventStreamClient {
    const opened = new EventStreamClient(at(base, id, `/tail?${query}`), headers)
    streams.push(opened)
    return opened
  }
  const ids = (client: EventStreamClient) => client.messages.map(({ id }) => Number(id))

  for (const [query, headers, expected] of [
    ['', {}, [1, 2, 3, 4, 5]],
    ['cursor=3', {}, [4, 5]],
    ['cursor=1', { 'last-event-id': '4' }, [5]],
    ['', { 'last-event-id': '0' }, [1, 2, 3, 4, 5]],
    ['cursor=2', { 'last-event-id': '' }, [3, 4, 5]],
    ['batch_size=100', { accept: 'text/html, Text/Event-Stream;q=0.9' }, [1, 2, 3, 4, 5]],
  ] as const)
    it(`with ?${query} and ${JSON.stringify(headers)}: stored events, then live ones`, async () => {
      const id = await session(5)
      const client = stream(id, query, headers)
      await client.until('the stored ones', () => client.messages.length >= expected.length)
      await append(id, 2)
      await client.until('the live ones', () => client.messages.length >= expected.length + 2)

      expect(ids(client)).to.deep.equal([...expected, 6, 7])
      expect(client.messages.map(({ data }) => JSON.parse(data).seq)).to.deep.equal([...expected, 6, 7])
      expect(client.ended).to.equal(false)
    })

  it('are the bytes of history, an event a message, and say when to come back', async () => {
    const id = await session(2)
    const client = stream(id)
    await client.until('both', () => client.messages.length === 2)

    const [first, second] = client.events
    expect(client.text.replaceAll(':\n', '')).to.equal(
      `retry: 1000\nid: 1\ndata: ${first}\n\nid: 2\ndata: ${second}\n\n`,
    )
    expect(await history(id)).to.equal(`{"events":[${first},${second}],"next_cursor":2,"last_seq":2}`)
  })

  it('cannot be forged from within a payload', async () => {
    const id = await session()
    const text = 'x\n\nid: 99\ndata: {"seq":99}\n\n\r\rdata: y\u2028\u2029\u0085'
    const payloads = [
      `{"text":${JSON.stringify(text)}}`,
      '{\n\n"id"\n:\r\n\r\n1\r,\r"data":"id: 7"\n\n}',
      '{\r\n"a":[\n1,\r2]\n}',
    ]
    for (const payload of payloads)
      await call('POST', at(node.url, id, '/append'), `{"type":"t","payload":${payload}}`)
    const client = stream(id)
    await client.until('all', () => client.messages.length >= 3)

    expect(ids(client)).to.deep.equal([1, 2, 3])
    const kept: object[] = JSON.parse(await history(id)).events
    expect(client.events.map((event) => JSON.parse(event))).to.deep.equal(kept)
    // To the letter, but that every end of a line is a line feed.
    for (const [i, payload] of payloads.entries())
      expect(client.events[i]).to.include(`"payload":${payload.replaceAll(/\r\n?/g, '\n')}`)
  })

  it('have the headers that browsers and proxies need', async () => {
    const response = await fetch(at(node.url, await session(), '/tail'), {
      headers: { ...SSE, origin: 'http://localhost:5173', 'x-request-id': 'mine' },
    })
    const headers = Object.fromEntries(response.headers)
    await response.body?.cancel()

    expect(headers).to.include({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
      'transfer-encoding': 'chunked',
      'access-control-allow-origin': 'http://localhost:5173',
      'x-request-id': 'mine',
    })
    expect(headers).not.to.have.property('content-length')
  })

  it('are kept alive by comments', async () => {
    const client = stream(await session())
    await client.until('some comments', () => client.comments.length >= 3)

    expect(client.text).to.match(/^retry: 1000\n(:\n){3}/)
  })

  it('answer HEAD with the headers alone', async () => {
    const response = await fetch(at(node.url, await session(1), '/tail'), { method: 'HEAD', headers: SSE })

    expect([response.status, response.headers.get('content-type'), await response.text()]).to.deep.equal([
      200,
      'text/event-stream; charset=utf-8',
      '',
    ])
  })

  for (const [what, count, query, expected] of [
    ['all there is', 5, '', seqsFrom(1, 5)],
    ['the rest', 5, '&cursor=3', [4, 5]],
    ['more than a page', 2500, '', seqsFrom(1, 2500)],
  ] as const)
    it(`end after ${what} with follow=false, and tell an EventSource that comes back to stop`, async () => {
      const id = await session(Math.min(count, 1000))
      for (let stored = 1000; stored < count; stored += 500) await append(id, 500)
      const client = stream(id, `follow=false${query}`)
      await client.until('the end', ({ ended }) => ended)

      expect(ids(client)).to.deep.equal([...expected])
      const again = await call('GET', at(node.url, id, `/tail?follow=false${query}`), undefined, {
        ...SSE,
        'last-event-id': client.lastEventId,
      })
      expect([again.status, again.text]).to.deep.equal([204, ''])
    })

  it('give one who saw nothing an id to come back with', async () => {
    for (const [count, cursor] of [
      [0, 0],
      [5, 5],
    ] as const) {
      const client = stream(await session(count), `follow=false&cursor=${cursor}`)
      await client.until('the end', ({ ended }) => ended)

      expect([client.messages, client.lastEventId]).to.deep.equal([[], String(cursor)])
    }
  })

  it('resume without a gap or a repeat, again and again', async () => {
    const id = await session(1)
    const seen: number[] = []
    for (let round = 0; round < 10; round += 1) {
      const client = stream(id, 'cursor=0', seen.length === 0 ? {} : { 'last-event-id': String(seen.length) })
      const appending = append(id, 4)
      await client.until('something', ({ messages }) => messages.length > 0)
      client.close()
      await client.until('the end', ({ ended }) => ended)
      seen.push(...ids(client))
      await appending
    }

    expect(seen).to.deep.equal(seqsFrom(1, seen.length))
  })

  it('are refused, before they begin, in JSON and in the order of the contract', async () => {
    const id = await session(2)
    const of = (path: string, headers = {}) =>
      call('GET', `${node.url}${path}`, undefined, { ...SSE, ...headers })
    for (const [path, headers, status, code, details] of [
      ['/v1/sessions/nobody/tail?cursor=x&batch_size=x', {}, 400, 'invalid_cursor', { field: 'cursor' }],
      [
        '/v1/sessions/nobody/tail?cursor=1',
        { 'last-event-id': 'x' },
        400,
        'invalid_cursor',
        { field: 'Last-Event-ID' },
      ],
      ['/v1/sessions/nobody/tail?cursor=9&batch_size=0', {}, 400, 'invalid_tail_batch_size', {}],
      ['/v1/sessions/nobody/tail?cursor=9', {}, 404, 'session_not_found', {}],
      [`/v1/sessions/${id}/tail?cursor=3`, {}, 409, 'cursor_ahead', { last_seq: 2 }],
      [`/v1/sessions/${id}/tail?cursor=1`, { 'last-event-id': '3' }, 409, 'cursor_ahead', { last_seq: 2 }],
      [`/v1/sessions/${id}/tail?follow=no`, {}, 400, 'invalid_list_query', { field: 'follow' }],
    ] as const)
      expectError(await of(path, headers), status, code, details)
  })

  for (const accept of ['*/*', 'application/json', 'text/*', 'text/event-streams', ''])
    it(`are not what Accept: ${accept} asks for`, async () => {
      const answer = await call('GET', at(node.url, await session(), '/tail'), undefined, { accept })
      expectError(answer, 400, 'invalid_websocket_upgrade')
    })

  it('that are to end are cut by a node that stops, and never look finished', async () => {
    const own = await startNode(database)
    const id = await session()
    const text = 'x'.repeat(900_000)
    for (let i = 0; i < 20; i += 1)
      await call('POST', at(own.url, id, '/append'), { type: 't', payload: { text } })
    const client = stream(id, 'follow=false', {}, own.url)
    await client.until('it has begun', (client) => client.response !== undefined)
    client.response?.pause() // more is to come than the connection takes

    await own.stop()
    client.response?.resume()
    await client.until('it ends', (client) => client.ended)

    expect(client.messages.length).to.be.below(20)
    expect(client.response?.complete).to.equal(false)
  })

  it('work with curl -N', async () => {
    const id = await session(2)
    const curl = execFile('curl', ['-sN', '-H', 'Accept: text/event-stream', at(node.url, id, '/tail')])
    let output = ''
    curl.stdout?.on('data', (chunk) => {
      output += chunk
    })
    await until('the stored ones', () => output.includes('"seq":2'))
    await append(id, 1)
    await until('a live one', () => output.includes('id: 3\ndata: {"seq":3'))
    curl.kill()
  })

  it('leave their connection to the next request', async () => {
    const id = await session(1)
    const connection = await RawConnection.open(node.url)
    connection.send(
      `GET /v1/sessions/${id}/tail?follow=false HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n`,
    )
    await until('the stream has ended', () => connection.received.endsWith('\r\n0\r\n\r\n'))
    connection.received = ''
    connection.send(`GET /v1/sessions/${id} HTTP/1.1\r\nHost: x\r\n\r\n`)

    expect(await connection.answer()).to.include({ status: 200 })
    connection.destroy()
  })

  it('are served over HTTP/1.0, and behind a request that is not yet answered', async () => {
    const id = await session(3)
    const path = `/v1/sessions/${id}`
    const old = await RawConnection.open(node.url)
    old.send(`GET ${path}/tail?follow=false HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n`)
    const behind = await RawConnection.open(node.url)
    behind.send(
      `GET ${path}/events?cursor=3&wait=1 HTTP/1.1\r\nHost: x\r\n\r\n` +
        `GET ${path}/tail?follow=false HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n`,
    )
    await old.closed()
    await until('the stream behind has ended', () => behind.received.endsWith('\r\n0\r\n\r\n'))

    const body = (text: string) => text.slice(text.lastIndexOf('retry: 1000\n'))
    expect(body(old.received)).to.match(/^retry: 1000\nid: 1\n.*\n\nid: 2\n.*\n\nid: 3\n.*\n\n$/)
    expect(body(behind.received)).to.match(/id: 1\n.*id: 2\n.*id: 3\n/s)
    behind.destroy()
  })

  it('are served to a client that offers another protocol too, as curl --http2 does', async () => {
    const client = stream(await session(1), '', {
      connection: 'Upgrade, HTTP2-Settings',
      upgrade: 'h2c',
      'http2-settings': 'AAMAAABkAAQAAP__',
    })

    await client.until('the event', ({ messages }) => messages.length === 1)
  })

  describe('at the bounds of the node', () => {
    const small = useNode(database, { STARCITE_MAX_SOCKETS: '2', STARCITE_STALL_TIMEOUT: '300ms' })
    const open = async () =>
      Number(
        /^starcite_sockets\{transport="sse"\} (\d+)/m.exec(
          (await call('GET', `${small.url}/metrics`)).text,
        )?.[1],
      )

    it('count as sockets, are refused past the most, and are forgotten when they end', async () => {
      const id = await session(1)
      const [a, b] = [stream(id, '', {}, small.url), stream(id, '', {}, small.url)]
      for (const client of [a, b]) await client.until('an event', ({ messages }) => messages.length === 1)

      const third = await call('GET', at(small.url, id, '/tail'), undefined, SSE)
      expectError(third, 503, 'too_many_sockets')
      expect([third.headers.get('retry-after'), await open()]).to.deep.equal(['1', 2])
      a.close()
      b.close()
      await until('both are gone', async () => (await open()) === 0)
      const tails = (await call('GET', `${small.url}/metrics`)).text
      expect(tails).to.include('starcite_tails 0\n')
    })

    it('end for a reader that takes nothing at all, and hold no more than a page for it meanwhile', async () => {
      const id = await session()
      const text = 'x'.repeat(500_000)
      for (let i = 0; i < 3; i += 1)
        await call('POST', at(node.url, id, '/events'), {
          events: Array.from({ length: 10 }, (_, n) => ({ type: 'big', payload: { n, text } })),
        })
      const client = stream(id, '', {}, small.url)
      await client.until('an answer', ({ response }) => response !== undefined)
      client.response?.pause()
      await until('the stream has been given up', async () => (await open()) === 0)
      client.response?.resume()
      await client.until('the end', ({ ended }) => ended)

      const seen = ids(client)
      expect(seen.length).to.be.below(30)
      const rest = stream(id, '', { 'last-event-id': String(seen.length) })
      await rest.until('the rest', ({ messages }) => messages.length === 30 - seen.length)
      expect([...seen, ...ids(rest)]).to.deep.equal(seqsFrom(1, 30))
    })
  })

  it('end when the node drains, each with its own time to come back', async () => {
    const draining = await startNode(database, { STARCITE_DRAIN_SPREAD: '200ms' })
    const id = await session(1)
    const clients = Array.from({ length: 5 }, () => stream(id, '', {}, draining.url))
    for (const client of clients) await client.until('an event', ({ messages }) => messages.length === 1)

    await draining.stop()

    for (const client of clients) {
      await client.until('the end', ({ ended }) => ended)
      expect(client.retryMs).to.be.within(500, 700)
      expect(client.text).to.match(/\n\n(:\n)*retry: \d+\n$/)
    }
    expect(new Set(clients.map(({ retryMs }) => retryMs)).size).to.be.above(1)
  })
})
