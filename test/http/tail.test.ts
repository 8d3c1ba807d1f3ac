import { once } from 'node:events'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { at, expectError, unique } from '../support/answers.ts'
import { type Answer, call, TailClient } from '../support/client.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

const seqsFrom = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, i) => first + i)

describe('tails over WebSocket', () => {
  const database = useDatabase()
  const node = useNode(database)
  const tails: TailClient[] = []

  afterEach(() => {
    for (const tail of tails.splice(0)) tail.close()
  })

  /** A session with so many events. */
  async function session(count = 0): Promise<string> {
    const { id } = (await call('POST', `${node.url}/v1/sessions`, { id: unique() })).json
    if (count > 0) await append(id, count)
    return id
  }
  const append = (id: string, count: number) =>
    call('POST', at(node.url, id, '/events'), {
      events: seqsFrom(1, count).map((n) => ({ type: 'n', payload: { n } })),
    })
  function tail(id: string, query: string): TailClient {
    const opened = new TailClient(node.url, id, query)
    tails.push(opened)
    return opened
  }
  const seqs = (client: TailClient) => client.events.map((event) => JSON.parse(event).seq)

  /** The answer to an upgrade that is refused. */
  async function refusal(path: string, options: object = {}): Promise<Answer> {
    const socket = new WebSocket(`${node.url.replace(/^http/, 'ws')}${path}`, options)
    const [request, response] = await once(socket, 'unexpected-response')
    let text = ''
    for await (const chunk of response) text += chunk
    request.destroy()
    return {
      status: response.statusCode,
      headers: new Headers(response.headers),
      text,
      json: JSON.parse(text),
    }
  }

  describe('deliver', () => {
    it('stored events, then live ones, with follow=true', async () => {
      const id = await session(5)
      const client = tail(id, 'follow=true')
      await client.until(() => seqs(client).length >= 5)

      await append(id, 1)
      await client.until(() => seqs(client).length >= 6)

      expect(seqs(client)).to.deep.equal(seqsFrom(1, 6))
      expect(client.closed).to.equal(undefined)
    })

    for (const query of ['', 'batch_size=1'])
      it(`one event per text frame with ?${query}`, async () => {
        const client = tail(await session(3), query)
        await client.until(({ frames }) => frames.length === 3)

        for (const frame of client.frames)
          expect(JSON.parse(frame)).to.have.all.keys(
            'seq',
            'type',
            'payload',
            'actor',
            'metadata',
            'refs',
            'inserted_at',
          )
      })

    it('arrays with batch_size=2, live events too', async () => {
      const id = await session(3)
      const client = tail(id, 'batch_size=2')
      await client.until(() => seqs(client).length === 3)
      await append(id, 1)
      await client.until(() => seqs(client).length === 4)

      for (const frame of client.frames) expect(JSON.parse(frame)).to.be.an('array').with.length.within(1, 2)
    })
  })

  describe('that do not follow', () => {
    for (const [what, count, query, expected] of [
      ['all there is', 5, '', seqsFrom(1, 5)],
      ['the rest', 5, '&cursor=3', [4, 5]],
      ['nothing, at the end', 5, '&cursor=5', []],
      ['nothing, of an empty session', 0, '', []],
      ['arrays', 5, '&batch_size=2', seqsFrom(1, 5)],
      ['more than a page', 2500, '&batch_size=1000', seqsFrom(1, 2500)],
    ] as const)
      it(`deliver ${what} and close with 1000`, async () => {
        const id = await session(Math.min(count, 1000))
        for (let stored = 1000; stored < count; stored += 500) await append(id, 500)
        const client = tail(id, `follow=false${query}`)

        await client.until(({ closed }) => closed !== undefined)

        expect(client.closed).to.deep.equal({ code: 1000, reason: 'finished' })
        expect(seqs(client)).to.deep.equal([...expected])
      })
  })

  describe('are refused', () => {
    it('without an upgrade, before anything else is looked at', async () => {
      for (const path of ['/tail', '/tail?cursor=x&batch_size=x']) {
        expectError(await call('GET', at(node.url, unique(), path)), 400, 'invalid_websocket_upgrade')
      }
    })

    it('in the order of the contract: cursor, batch size, session, cursor ahead', async () => {
      const id = await session(2)
      const nobody = unique()
      for (const [path, status, code, details] of [
        [`/v1/sessions/${nobody}/tail?cursor=x&batch_size=x`, 400, 'invalid_cursor', { field: 'cursor' }],
        [
          `/v1/sessions/${nobody}/tail?cursor=9&batch_size=x`,
          400,
          'invalid_tail_batch_size',
          { field: 'batch_size' },
        ],
        [`/v1/sessions/${nobody}/tail?cursor=9&batch_size=2`, 404, 'session_not_found', {}],
        [`/v1/sessions/${id}/tail?cursor=3&batch_size=2`, 409, 'cursor_ahead', { last_seq: 2 }],
        [`/v1/sessions/${id}/tail?cursor=3&follow=false`, 409, 'cursor_ahead', { last_seq: 2 }],
        ['/v1/sessions/a%00b/tail', 404, 'session_not_found', {}],
        ['/v1/sessions/%zz/tail', 404, 'session_not_found', {}],
      ] as const)
        expectError(await refusal(path), status, code, details)
    })

    for (const cursor of ['', '-1', 'x', '1.5', '1e1', '%2B1', '%201', '9007199254740992', '1&cursor=1'])
      it(`with cursor=${cursor}`, async () => {
        expectError(
          await refusal(`/v1/sessions/${await session(1)}/tail?cursor=${cursor}`),
          400,
          'invalid_cursor',
          { field: 'cursor' },
        )
      })

    for (const size of ['', '0', '-1', '1001', 'many', '2.5', '2&batch_size=2'])
      it(`with batch_size=${size}`, async () => {
        expectError(
          await refusal(`/v1/sessions/${await session(1)}/tail?batch_size=${size}`),
          400,
          'invalid_tail_batch_size',
          { field: 'batch_size' },
        )
      })

    for (const follow of ['', 'no', 'FALSE', 'false&follow=false'])
      it(`with follow=${follow}`, async () => {
        expectError(
          await refusal(`/v1/sessions/${await session(1)}/tail?follow=${follow}`),
          400,
          'invalid_list_query',
          { field: 'follow' },
        )
      })

    it('with another version of the protocol, and the answer names the supported one', async () => {
      const answer = await refusal(`/v1/sessions/${await session()}/tail`, { protocolVersion: 8 })

      expectError(answer, 400, 'invalid_websocket_upgrade')
      expect(answer.headers.get('sec-websocket-version')).to.equal('13')
    })

    it('on a path that knows no upgrade, which answers as ever', async () => {
      expect((await refusal('/v1/sessions?limit=1')).status).to.equal(200)
      expectError(await refusal('/v1/nowhere'), 404, 'not_found')
    })

    it('and leave the connection’s node as it was', async () => {
      const id = await session(1)
      await Promise.all(Array.from({ length: 20 }, () => refusal(`/v1/sessions/${id}/tail?cursor=9`)))

      const client = tail(id, 'follow=false')
      await client.until(({ closed }) => closed !== undefined)

      expect(seqs(client)).to.deep.equal([1])
    })
  })

  describe('at the bounds of the node', () => {
    const small = useNode(database, {
      STARCITE_MAX_SOCKETS: '2',
      STARCITE_PING_INTERVAL: '100ms',
      STARCITE_STALL_TIMEOUT: '300ms',
    })

    it('are refused with 503 past the most sockets, until one leaves', async () => {
      const id = await session(1)
      const [a, b] = [new TailClient(small.url, id, ''), new TailClient(small.url, id, '')]
      tails.push(a, b)
      await Promise.all([a, b].map((client) => client.until(({ frames }) => frames.length === 1)))

      const path = `/v1/sessions/${id}/tail`
      const full = new WebSocket(`${small.url.replace(/^http/, 'ws')}${path}`)
      const [, response] = await once(full, 'unexpected-response')
      response.resume()
      expect(response.statusCode).to.equal(503)
      expect(response.headers['retry-after']).to.equal('1')
      a.close()

      for (let third: TailClient | undefined; third === undefined; ) {
        const next = new TailClient(small.url, id, '')
        tails.push(next)
        await next.until(({ frames, closed }) => frames.length === 1 || closed !== undefined)
        if (next.frames.length === 1) third = next
      }
    })

    it('end, cut, for a peer that answers no ping', async () => {
      const id = await session(1)
      const url = `${small.url.replace(/^http/, 'ws')}/v1/sessions/${id}/tail`
      const silent = new WebSocket(url, { autoPong: false })
      const [code] = await once(silent, 'close')

      expect(code).to.equal(1006)
    })

    it('stay for a peer that answers pings, however quiet the session', async () => {
      const id = await session(0)
      const client = new TailClient(small.url, id, '')
      tails.push(client)
      let pings = 0
      client.socket.on('ping', () => {
        pings += 1
      })
      while (pings < 5) await once(client.socket, 'ping')

      await append(id, 1)
      await client.until(({ frames }) => frames.length === 1)
      expect(client.closed).to.equal(undefined)
    })
  })
})
