import { once } from 'node:events'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { at, expectError, unique } from '../support/answers.ts'
import { call } from '../support/client.ts'
import { startNode } from '../support/node.ts'
import { RawConnection } from '../support/rawHttp.ts'
import { SocketClient } from '../support/socketClient.ts'
import { until } from '../support/until.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

const OK = { status: 'ok', response: {} }
const refused = (reason: string) => ({ status: 'error', response: { reason } })
const seqsFrom = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, i) => first + i)

describe('the multiplexed socket', () => {
  const database = useDatabase()
  const node = useNode(database)
  const clients: SocketClient[] = []

  afterEach(() => {
    for (const client of clients.splice(0)) client.close()
  })

  async function session(count = 0): Promise<string> {
    const id = unique()
    await call('POST', `${node.url}/v1/sessions`, { id })
    if (count > 0) await append(id, count)
    return id
  }
  const append = (id: string, count: number) =>
    call('POST', at(node.url, id, '/events'), {
      events: seqsFrom(1, count).map((n) => ({ type: 'n', payload: { n } })),
    })
  async function open(query?: string, base = node.url, options?: object): Promise<SocketClient> {
    const client = await SocketClient.open(base, query, options)
    clients.push(client)
    return client
  }
  const frameOf = async (id: string, seq: number) =>
    (await call('GET', at(node.url, id, `/events?cursor=${seq - 1}&limit=1`))).text.slice(
      '{"events":['.length,
      -`],"next_cursor":${seq},"last_seq":${seq}}`.length,
    )
  const withCursor = (frame: string, seq: number) => `${frame.slice(0, -1)},"cursor":${seq}}`

  /** The answer to a handshake that is refused. */
  async function refusal(query: string, options: object = {}) {
    const socket = new WebSocket(`${node.url.replace(/^http/, 'ws')}/v1/socket/websocket${query}`, options)
    const [request, response] = await once(socket, 'unexpected-response')
    let body = ''
    for await (const chunk of response) body += chunk
    request.destroy()
    return { status: response.statusCode, body, headers: response.headers }
  }

  describe('shakes hands', () => {
    for (const query of ['vsn=2.0.0', 'vsn=1.0.0', '', 'vsn=2.0.0&token=whatever&other=1'])
      it(`with ?${query}`, async () => {
        expect((await open(query)).ws.readyState).to.equal(WebSocket.OPEN)
      })

    for (const query of [
      '?vsn=2.0.1',
      '?vsn=',
      '?vsn=3',
      '?vsn=2.0.0&vsn=2.0.0',
      '?vsn=__proto__',
      '?vsn=2.0.0&access_token=x',
      '?vsn=2.0.0&token=x&token=y',
    ])
      it(`not with ${query}: 403, and an empty body`, async () => {
        const { status, body, headers } = await refusal(query)

        expect([status, body, headers['content-length'], headers['content-type']]).to.deep.equal([
          403,
          '',
          '0',
          undefined,
        ])
      })

    it('not without an upgrade, which is answered as on every path', async () => {
      const url = `${node.url}/v1/socket/websocket`
      expectError(await call('GET', `${url}?vsn=2.0.0`), 400, 'invalid_websocket_upgrade')
      const posted = await call('POST', url, {})
      expectError(posted, 405, 'method_not_allowed')
      expect(posted.headers.get('allow')).to.include('GET')
      expectError(await call('GET', `${node.url}/v1/socket/longpoll?vsn=2.0.0`), 404, 'not_found')
    })

    it('and takes Phoenix’s sub-protocol when the client offers it', async () => {
      const ws = new WebSocket(`${node.url.replace(/^http/, 'ws')}/v1/socket/websocket?vsn=2.0.0`, [
        'phoenix',
        `base64url.bearer.phx.${btoa('some.token.here').replaceAll('=', '')}`,
      ])
      await once(ws, 'open')

      expect(ws.protocol).to.equal('phoenix')
      ws.terminate()
    })
  })

  describe('answers', () => {
    it('a join, then the events from the cursor on, stored and live, to the letter', async () => {
      const id = await session(2)
      const client = await open()

      client.send(['1', '2', `tail:${id}`, 'phx_join', { cursor: 1 }])
      await client.received(2)
      await append(id, 1)
      await client.received(3)

      const [second, third] = [await frameOf(id, 2), await frameOf(id, 3)]
      expect(client.texts).to.deep.equal([
        `["1","2","tail:${id}","phx_reply",{"status":"ok","response":{}}]`,
        `["1",null,"tail:${id}","events",{"events":[${withCursor(second, 2)}]}]`,
        `["1",null,"tail:${id}","events",{"events":[${withCursor(third, 3)}]}]`,
      ])
    })

    it('the same in version 1.0.0', async () => {
      const id = await session(1)
      const client = await open('')

      client.send({ topic: `tail:${id}`, event: 'phx_join', payload: {}, ref: '1' })
      await client.received(2)
      client.send(
        { topic: 'phoenix', event: 'heartbeat', payload: {}, ref: '2' },
        { topic: `tail:${id}`, event: 'append', payload: { type: 'a', payload: { n: 1.0 } }, ref: '3' },
      )
      await client.received(5)
      client.send({ topic: `tail:${id}`, event: 'phx_leave', payload: {}, ref: '4' })
      await client.received(7)

      const answer = '{"seq":2,"last_seq":2,"deduped":false,"cursor":2,"committed_cursor":2}'
      const events = (frame: string, seq: number) =>
        `{"topic":"tail:${id}","event":"events","payload":{"events":[${withCursor(frame, seq)}]},"ref":null}`
      const replied = (topic: string, ref: number, response = '{}') =>
        `{"topic":"${topic}","event":"phx_reply","payload":{"status":"ok","response":${response}},"ref":"${ref}"}`
      expect(client.texts).to.have.members([
        replied(`tail:${id}`, 1),
        events(await frameOf(id, 1), 1),
        replied('phoenix', 2),
        events(await frameOf(id, 2), 2),
        replied(`tail:${id}`, 3, answer),
        replied(`tail:${id}`, 4),
        `{"topic":"tail:${id}","event":"phx_close","payload":{},"ref":"1"}`,
      ])
      expect(client.texts[0]).to.equal(replied(`tail:${id}`, 1))
      expect(client.texts.slice(5)).to.deep.equal([
        replied(`tail:${id}`, 4),
        `{"topic":"tail:${id}","event":"phx_close","payload":{},"ref":"1"}`,
      ])
    })

    it('a heartbeat', async () => {
      const client = await open()
      client.send([null, '5', 'phoenix', 'heartbeat', {}])

      expect(await client.received(1)).to.deep.equal([
        '[null,"5","phoenix","phx_reply",{"status":"ok","response":{}}]',
      ])
    })

    it('a leave with a reply and phx_close, after which nothing comes', async () => {
      const id = await session(1)
      const client = await open()
      await client.join(`tail:${id}`)
      await client.received(2)

      client.send(['1', '7', `tail:${id}`, 'phx_leave', {}])
      await client.received(4)
      await append(id, 2)
      client.send([null, '8', 'phoenix', 'heartbeat', {}], ['1', '9', `tail:${id}`, 'append', {}])
      await client.received(6)

      expect(client.texts.slice(2)).to.deep.equal([
        `["1","7","tail:${id}","phx_reply",{"status":"ok","response":{}}]`,
        `["1","1","tail:${id}","phx_close",{}]`,
        '[null,"8","phoenix","phx_reply",{"status":"ok","response":{}}]',
        `["1","9","tail:${id}","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]`,
      ])
    })

    it('a leave of a topic that is not joined as Phoenix does', async () => {
      const client = await open()
      client.send(['1', '2', 'tail:x', 'phx_leave', {}])

      expect(await client.reply('2')).to.deep.equal(OK)
    })

    it('a join of a joined topic: the old one is closed, the new one has the rest', async () => {
      const id = await session(3)
      const client = await open()
      await client.join(`tail:${id}`)
      await client.received(4)

      client.send(['5', '5', `tail:${id}`, 'phx_join', { cursor: 1, batch_size: 10 }])
      await client.received(7)
      await append(id, 1)
      await client.received(8)

      expect(client.frames.slice(4).map(([joinRef, ref, , event]) => [joinRef, ref, event])).to.deep.equal([
        ['1', '1', 'phx_close'],
        ['5', '5', 'phx_reply'],
        ['5', null, 'events'],
        ['5', null, 'events'],
      ])
      expect(client.events(`tail:${id}`).map(({ seq }) => seq)).to.deep.equal([1, 2, 3, 2, 3, 4])
    })

    it('joins and leaves of one topic sent in one breath, each once and in order', async () => {
      const id = await session(1)
      const topic = `tail:${id}`
      const client = await open()
      client.send(
        ['1', '1', topic, 'phx_join', {}],
        ['1', '2', topic, 'append', { type: 'a', payload: {} }],
        ['1', '3', topic, 'phx_leave', {}],
        ['4', '4', topic, 'phx_join', { cursor: 2 }],
        ['5', '5', topic, 'phx_join', { cursor: 2 }],
        ['5', '6', topic, 'append', { type: 'b', payload: {} }],
      )
      await client.reply('6')
      await until('both appends were seen', () => client.events(topic).some(({ seq }) => seq === 3))

      const told = client.frames.filter(([, , , event]) => event !== 'events')
      expect(told.map(([joinRef, ref, , event]) => [joinRef, ref, event])).to.deep.equal([
        ['1', '1', 'phx_reply'],
        ['1', '2', 'phx_reply'],
        ['1', '3', 'phx_reply'],
        ['1', '1', 'phx_close'],
        ['4', '4', 'phx_reply'],
        ['4', '4', 'phx_close'],
        ['5', '5', 'phx_reply'],
        ['5', '6', 'phx_reply'],
      ])
      const { last_seq } = (await call('GET', at(node.url, id))).json
      expect(last_seq).to.equal(3)
    })

    for (const topic of [
      'room:1',
      'tail',
      'lifecycles',
      'lifecycle:1',
      'phoenix',
      '',
      '__proto__',
      'tailx:1',
    ])
      it(`a join of ${JSON.stringify(topic)} with “unmatched topic”`, async () => {
        expect(await (await open()).join(topic)).to.deep.equal(refused('unmatched topic'))
      })

    it('an event that no joined topic knows with nothing at all', async () => {
      const id = await session()
      const client = await open()
      await client.join(`tail:${id}`)

      client.send(
        ['1', '2', `tail:${id}`, 'live_only', {}],
        ['1', '3', `tail:${id}`, 'constructor', {}],
        [null, '4', 'phoenix', 'heartbeat', {}],
      )
      await client.reply('4')

      expect(client.texts).to.have.length(2)
    })

    it('refs as they came: numbers, null, strings of any characters', async () => {
      const client = await open()
      client.send('[ 7 , 12345678901234567890, "phoenix", "heartbeat", {} ]')
      client.send('[null,null,"phoenix","heartbeat",{},"more",1]')
      client.send('["é\\n\\"","\\ud83d","phoenix","heartbeat",null]')

      expect(await client.received(3)).to.deep.equal([
        '[7,12345678901234567890,"phoenix","phx_reply",{"status":"ok","response":{}}]',
        '[null,null,"phoenix","phx_reply",{"status":"ok","response":{}}]',
        '["é\\n\\"","\\ud83d","phoenix","phx_reply",{"status":"ok","response":{}}]',
      ])
    })
  })

  describe('joins', () => {
    for (const [payload, seqs, lengths] of [
      [{ cursor: 3, batch_size: null, live_only: true }, [4, 5], [1, 1]],
      [{ cursor: null, batch_size: 2 }, [1, 2, 3, 4, 5], [2, 2, 1]],
      [{ cursor: '4', batch_size: '1000' }, [5], [1]],
      [[], [1, 2, 3, 4, 5], [1, 1, 1, 1, 1]],
      [null, [1, 2, 3, 4, 5], [1, 1, 1, 1, 1]],
    ] as const)
      it(`with ${JSON.stringify(payload)}: lists of ${lengths.join(', ')}`, async () => {
        const id = await session(5)
        const client = await open()
        expect(await client.join(`tail:${id}`, payload)).to.deep.equal(OK)
        await client.received(1 + lengths.length)

        expect(client.events(`tail:${id}`).map(({ seq, cursor }) => [seq, cursor])).to.deep.equal(
          seqs.map((seq) => [seq, seq]),
        )
        const lists = client.frames.slice(1).map((frame) => (frame[4] as { events: unknown[] }).events.length)
        expect(lists).to.deep.equal([...lengths])
      })

    it('by the thousand do not hold up the join of another socket', async () => {
      const crowd = await Promise.all(Array.from({ length: 3 }, () => open()))
      const another = await open()
      const id = await session(0)
      const sent = crowd.flatMap((client) =>
        Array.from({ length: 900 }, (_, i) =>
          client.send([`${i}`, `${i}`, `tail:none_${i}`, 'phx_join', {}]),
        ),
      )
      const answered = () => crowd.reduce((sum, client) => sum + client.texts.length, 0)
      await until('the first of them is answered', () => answered() > 0)

      expect(await another.join(`tail:${id}`)).to.deep.equal(OK)

      expect(answered()).to.be.below(sent.length / 2)
      await until('all are answered', () => answered() === sent.length)
    })

    it('count among the requests of the tenant', async () => {
      const limited = await startNode(database, { STARCITE_TENANT_REQUESTS_PER_SECOND: '5' })
      try {
        const client = await open(undefined, limited.url)
        const answers = await Promise.all(
          Array.from({ length: 20 }, (_, i) => client.join(`tail:none_${i}`, {}, String(i))),
        )

        const reasons = answers.map((answer) => (answer as { response: { reason: string } }).response.reason)
        expect(new Set(reasons)).to.deep.equal(new Set(['session_not_found', 'rate_limited']))
        expect(reasons.filter((reason) => reason === 'session_not_found').length).to.be.at.most(10) // they may fall into two seconds
      } finally {
        await limited.stop()
      }
    })

    it('many sessions at once, each event to its own topic', async () => {
      const ids = await Promise.all(Array.from({ length: 20 }, () => session(2)))
      const client = await open()
      await Promise.all(ids.map((id, i) => client.join(`tail:${id}`, { cursor: 1 }, String(i))))
      await Promise.all(ids.map((id) => append(id, 2)))
      await until('all are there', () => ids.every((id) => client.events(`tail:${id}`).length === 3))

      for (const id of ids) expect(client.events(`tail:${id}`).map(({ seq }) => seq)).to.deep.equal([2, 3, 4])
    })

    it('and says the first that is wrong, in the order of the contract', async () => {
      const id = await session(2)
      const client = await open()
      let ref = 0
      for (const [topic, payload, reason] of [
        ['tail:nobody', { cursor: -1, batch_size: 0 }, 'invalid_cursor'],
        ['tail:nobody', { cursor: 9, batch_size: 0 }, 'invalid_tail_batch_size'],
        ['tail:nobody', { cursor: 9 }, 'session_not_found'],
        [`tail:${'x'.repeat(257)}`, {}, 'session_not_found'],
        ['tail:', {}, 'session_not_found'],
        ['tail:a\0b', {}, 'session_not_found'],
        ['tail:\ud83d', {}, 'session_not_found'],
        [`tail:${id}`, { cursor: 3 }, 'cursor_ahead'],
        ...['x', '', 1.5, true, {}, [], 2 ** 53, '1e1', ' 1'].map(
          (cursor) => [`tail:${id}`, { cursor }, 'invalid_cursor'] as const,
        ),
        ...[0, 1001, 'many', 2.5, '', {}].map(
          (batch_size) => [`tail:${id}`, { batch_size }, 'invalid_tail_batch_size'] as const,
        ),
      ] as const) {
        ref += 1
        expect(
          await client.join(topic, payload, String(ref)),
          JSON.stringify([topic, payload]),
        ).to.deep.equal(refused(reason))
      }
    })
  })

  describe('appends', () => {
    const EVENT = { type: 'a', payload: {} }

    it('with the answers of HTTP', async () => {
      const id = await session()
      const client = await open()
      await client.join(`tail:${id}`)
      const bodies = [
        { type: 'a', payload: { n: 1 } },
        { type: 'a', payload: {}, producer_id: 'p', producer_seq: '1' },
        { type: 'a', payload: {}, producer_id: 'p', producer_seq: 1 },
        { type: 'b', payload: {}, producer_id: 'p', producer_seq: 1 },
        { type: 'a', payload: {}, producer_id: 'p', producer_seq: 9 },
        { type: 'a', payload: {}, expected_seq: 7 },
        { type: '', payload: {} },
        { payload: {} },
        { type: 'a', payload: 1 },
        { type: 'a', payload: {}, metadata: 1 },
        { type: 'a', payload: {}, refs: { step: -1 } },
        { type: 'a', payload: { text: '\0' } },
        { type: 'a', payload: {}, producer_id: 'p' },
        [],
        'text',
        null,
        { type: 'a', payload: {}, source: null, metadata: null, expected_seq: null },
      ]
      const twin = await session()

      for (const [i, body] of bodies.entries()) {
        client.send(['1', `a${i}`, `tail:${id}`, 'append', body])
        const reply = (await client.reply(`a${i}`)) as { status: string; response: unknown }
        const answer = await call('POST', at(node.url, twin, '/append'), JSON.stringify(body))

        expect(reply, JSON.stringify(body)).to.deep.equal({
          status: answer.status === 201 ? 'ok' : 'error',
          response: answer.json,
        })
      }
    })

    it('to the letter', async () => {
      const id = await session()
      const client = await open()
      await client.join(`tail:${id}`)
      const payload =
        '{ "n" : 1.0,"big":12345678901234567890,\r\n"e":"\\u00e9\\ud83d","a":1,"a":2 , "]": "}" }'

      client.send(
        `[ "1" ,"2" , "tail:${id}","append" , {"type":"a", "payload" : ${payload} ,"metadata":{"x":1e2}} ]`,
      )
      expect(await client.reply('2')).to.have.property('status', 'ok')

      const { text } = await call('GET', at(node.url, id, '/events'))
      expect(text).to.include(`"payload":${payload},`).and.include('"metadata":{"x":1e2}')
    })

    it('in the order in which they were sent, and answers in that order, for every outcome', async () => {
      const id = await session()
      const client = await open()
      await client.join(`tail:${id}`, { batch_size: 1000 })

      const all = seqsFrom(1, 300)
      client.send(
        ...all.map((n) => [
          '1',
          `p${n}`,
          `tail:${id}`,
          'append',
          n % 10 === 0
            ? { type: 'a' }
            : n % 7 === 0
              ? { ...EVENT, expected_seq: 9999 }
              : { type: 'a', payload: { n } },
        ]),
      )
      await client.reply('p300')

      const replies = client.frames.filter(([, ref]) => ref?.startsWith('p'))
      expect(replies.map(([, ref]) => ref)).to.deep.equal(all.map((n) => `p${n}`))
      const { json } = await call('GET', at(node.url, id, '/events?limit=1000'))
      expect(json.events.map(({ payload }: { payload: { n: number } }) => payload.n)).to.deep.equal(
        all.filter((n) => n % 10 !== 0 && n % 7 !== 0),
      )
    })

    it('of one turn in few transactions', async () => {
      const id = await session()
      const client = await open()
      await client.join(`tail:${id}`, { batch_size: 1000 })
      const batches = async () =>
        Number(
          /^starcite_append_batch_events_count (\d+)/m.exec(
            (await call('GET', `${node.url}/metrics`)).text,
          )?.[1],
        )
      const before = await batches()

      const frames = seqsFrom(1, 500).map((n) =>
        JSON.stringify(['1', `q${n}`, `tail:${id}`, 'append', EVENT]),
      )
      for (const frame of frames) client.ws.send(frame)
      await client.reply('q500')

      expect((await batches()) - before).to.be.below(60)
    })

    it('no more than fit in a body, and goes on', async () => {
      const id = await session()
      const client = await open()
      await client.join(`tail:${id}`)
      const text = 'é'.repeat(512 * 1024)

      client.send(['1', '2', `tail:${id}`, 'append', { type: 'a', payload: { text } }])
      const { response } = (await client.reply('2')) as { response: unknown }
      client.send(['1', '3', `tail:${id}`, 'append', { type: 'a', payload: { text: text.slice(100) } }])

      expect(response).to.include({ error: 'body_too_large', max_bytes: 1024 * 1024 })
      expect(await client.reply('3')).to.have.property('status', 'ok')
    })

    it('before it answers a leave', async () => {
      const id = await session()
      const client = await open()
      await client.join(`tail:${id}`)

      client.send(
        ['1', '2', `tail:${id}`, 'append', EVENT],
        ['1', '3', `tail:${id}`, 'append', EVENT],
        ['1', '4', `tail:${id}`, 'phx_leave', {}],
      )
      await client.event('phx_close')

      const refs = client.frames.filter(([, ref]) => ref !== null).map(([, ref, , event]) => [ref, event])
      expect(refs).to.deep.equal([
        ['1', 'phx_reply'],
        ['2', 'phx_reply'],
        ['3', 'phx_reply'],
        ['4', 'phx_reply'],
        ['1', 'phx_close'],
      ])
    })
  })

  describe('closes, and leaves the node as it was, for', () => {
    const deep = (levels: number) => `["1","1","tail:x","append",${'['.repeat(levels)}${']'.repeat(levels)}]`
    for (const [what, frame, code, query] of [
      ['text that is not JSON', '{"topic"', 1007],
      ['an empty frame', '', 1007],
      ['an object in version 2', { topic: 'phoenix', event: 'heartbeat', payload: {}, ref: '1' }, 1007],
      ['an array of four', ['1', '1', 'phoenix', 'heartbeat'], 1007],
      ['a topic that is no string', ['1', '1', 7, 'phx_join', {}], 1007],
      ['an event that is no string', ['1', '1', 'tail:x', null, {}], 1007],
      ['a ref that is an object', ['1', {}, 'phoenix', 'heartbeat', {}], 1007],
      ['a ref that is true', [true, '1', 'phoenix', 'heartbeat', {}], 1007],
      ['a ref of a thousand characters', ['1', 'x'.repeat(1000), 'phoenix', 'heartbeat', {}], 1007],
      ['nesting beyond every bound', deep(200_000), 1007],
      ['an array in version 1', ['1', '1', 'phoenix', 'heartbeat', {}], 1007, 'vsn=1.0.0'],
      [
        'an object without payload in version 1',
        { topic: 'phoenix', event: 'heartbeat', ref: '1' },
        1007,
        '',
      ],
      ['a binary frame', Buffer.from('["1","1","phoenix","heartbeat",{}]'), 1003],
      ['a frame over the bound', `["1","1","phoenix","heartbeat",{}]${' '.repeat(1_200_000)}`, 1009],
      ['text that is not UTF-8', undefined, 1007],
    ] as [string, unknown, number, string?][])
      it(`${what}: ${code}`, async () => {
        const client = await open(query ?? 'vsn=2.0.0')
        if (frame === undefined) client.ws.send(Buffer.from([0xff, 0xfe]), { binary: false })
        else if (typeof frame === 'string' || Buffer.isBuffer(frame)) client.ws.send(frame)
        else client.send(frame)

        expect((await client.end()).code).to.equal(code)
        expect((await call('GET', `${node.url}/health/ready`)).status).to.equal(200)
      })

    it('bytes that are no frames at all: the connection is cut', async () => {
      const raw = await RawConnection.open(node.url)
      raw.send(
        'GET /v1/socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
          'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
        Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 151) & 0xff)),
      )
      await raw.closed()

      expect((await call('GET', `${node.url}/health/ready`)).status).to.equal(200)
    })
  })

  describe('at the bounds of its node', () => {
    const HEARTBEAT_MS = 1000
    const strict = useNode(database, {
      STARCITE_SOCKET_HEARTBEAT_TIMEOUT: `${HEARTBEAT_MS}ms`,
      STARCITE_PING_INTERVAL: '100ms',
    })
    const small = useNode(database, {
      STARCITE_SOCKET_MAX_TOPICS: '3',
      STARCITE_SOCKET_MAX_APPENDS: '5',
      STARCITE_MAX_SOCKETS: '2',
    })

    it('is closed with 4008 for a client that sends nothing, pongs though it may', async () => {
      const client = await open(undefined, strict.url)

      expect(await client.end()).to.deep.equal({ code: 4008, reason: 'heartbeat_timeout' })
    })

    it('stays for one that sends heartbeats, and is sent no pings', async () => {
      const client = await open(undefined, strict.url)
      let pings = 0
      client.ws.on('ping', () => {
        pings += 1
      })
      const started = Date.now()
      for (let ref = 1; Date.now() - started < 1.5 * HEARTBEAT_MS; ref += 1) {
        client.send([null, `h${ref}`, 'phoenix', 'heartbeat', {}])
        await client.reply(`h${ref}`)
      }

      expect([client.closed, pings]).to.deep.equal([undefined, 0])
    })

    it('takes so many topics, and one more when one has left', async () => {
      const ids = await Promise.all([1, 2, 3, 4].map(() => session()))
      const client = await open(undefined, small.url)
      for (const [i, id] of ids.slice(0, 3).entries())
        expect(await client.join(`tail:${id}`, {}, String(i))).to.deep.equal(OK)

      expect(await client.join(`tail:${ids[3]}`, {}, '7')).to.deep.equal(refused('too_many_topics'))
      expect(await client.join(`tail:${ids[0]}`, {}, '8'), 'a topic that it has').to.deep.equal(OK)
      client.send(['1', '9', `tail:${ids[1]}`, 'phx_leave', {}])
      await client.reply('9')
      expect(await client.join(`tail:${ids[3]}`, {}, '10')).to.deep.equal(OK)
    })

    it('reads no further while so many appends await their answers, and answers them all', async () => {
      const id = await session()
      const client = await open(undefined, small.url)
      await client.join(`tail:${id}`, { batch_size: 1000 })

      const text = 'x'.repeat(20_000) // a few frames fill what is read at once
      const sent = seqsFrom(1, 200)
      client.send(
        ...sent.map((n) => ['1', `m${n}`, `tail:${id}`, 'append', { type: 'a', payload: { n, text } }]),
      )
      await client.reply('m200')

      const replies = client.frames.filter(([, ref]) => ref?.startsWith('m'))
      expect(replies.map((reply) => (reply[4] as { response: { seq: number } }).response.seq)).to.deep.equal(
        sent,
      )
      expect(client.closed).to.equal(undefined)
    })

    it('is refused with 503 at the limit of sockets of the node', async () => {
      await until('the others are gone', async () =>
        (await call('GET', `${small.url}/metrics`)).text.includes(
          'starcite_sockets{transport="phoenix"} 0\n',
        ),
      )
      await open(undefined, small.url)
      await open(undefined, small.url)
      const third = new WebSocket(`${small.url.replace(/^http/, 'ws')}/v1/socket/websocket?vsn=2.0.0`)
      const [, response] = await once(third, 'unexpected-response')
      response.resume()

      expect([response.statusCode, response.headers['retry-after']]).to.deep.equal([503, '1'])
    })
  })
})
