import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { at, unique } from '../support/answers.ts'
import { call } from '../support/client.ts'
import { spawnNode, startNode } from '../support/node.ts'
import { SocketClient } from '../support/socketClient.ts'
import { until } from '../support/until.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

const KB = 1024
const MB = 1024 * KB
/** Another address of this machine: without tokens it is another holder of memory. */
const NEIGHBOUR = { localAddress: '127.0.0.2' }

describe('what waits in a node (I8)', function () {
  this.timeout(60_000)
  const database = useDatabase()
  const node = useNode(database, {
    STARCITE_ANSWER_MEMORY: '16MB',
    STARCITE_BODY_MEMORY: '2MB',
    STARCITE_TAIL_MEMORY: '2MB',
  })
  let long: string
  const sockets: { destroy(): void }[] = []

  before(async () => {
    long = await session()
    const events = Array.from({ length: 6 }, () => ({ type: 'a', payload: { text: 'x'.repeat(MB - KB) } }))
    for (let i = 0; i < 4; i += 1)
      expect((await call('POST', at(node.url, long, '/events'), { events })).status).to.equal(201)
  })
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy()
  })

  const session = async () => (await call('POST', `${node.url}/v1/sessions`, { id: unique() })).json.id
  async function gauge(name: string): Promise<number> {
    const { text } = await call('GET', `${node.url}/metrics`)
    return Number(new RegExp(`^${name} (\\d+)`, 'm').exec(text)?.[1])
  }
  /** A connection that takes nothing until it is resumed. */
  async function unread(base: string, ...requests: string[]): Promise<Socket> {
    const socket = connect({ host: '127.0.0.1', port: Number(new URL(base).port) })
    sockets.push(socket)
    socket.on('error', () => {})
    await once(socket, 'connect')
    socket.pause()
    socket.write(requests.map((request) => `GET ${request} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`).join(''))
    return socket
  }
  function statuses(text: string): number[] {
    return [...text.matchAll(/HTTP\/1\.1 (\d+) /g)].map((match) => Number(match[1]))
  }

  it('of answers that are not read has a bound, beyond it is 503 overloaded, and a neighbour is served', async () => {
    const page = `/v1/sessions/${long}/events?limit=3`
    const readers = await Promise.all(
      Array.from({ length: 6 }, () => unread(node.url, page, page, page, page)),
    )
    await until('answers wait', async () => (await gauge('starcite_answer_bytes')) > 0)
    let most = 0
    await until('all are read from Postgres', async () => {
      const bytes = await gauge('starcite_answer_bytes')
      const isSteady = bytes === most
      most = Math.max(most, bytes)
      return isSteady
    })

    const neighbour = connect({ host: '127.0.0.1', port: Number(new URL(node.url).port), ...NEIGHBOUR })
    sockets.push(neighbour)
    neighbour.write(`GET ${page} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`)
    let head = ''
    neighbour.on('data', (chunk) => {
      head = head.length < 100 ? head + chunk.toString('latin1') : head
    })
    await once(neighbour, 'close')
    expect(statuses(head)).to.deep.equal([200])

    const answers = await Promise.all(
      readers.map(async (socket) => {
        let text = ''
        socket.on('data', (chunk) => {
          text += chunk.toString('latin1').replaceAll('x', '')
        })
        socket.resume()
        await until('all are answered', () => statuses(text).length === 4)
        return text
      }),
    )

    expect(most).to.be.at.most(8 * MB)
    const all = answers.flatMap(statuses)
    expect(new Set(all)).to.deep.equal(new Set([200, 503]))
    expect(answers.join('')).to.match(/Retry-After: 1\r\n[\s\S]*"error":"overloaded"/)
    await until('all is given back', async () => (await gauge('starcite_answer_bytes')) === 0)
  })

  it('of unread pages of 8 MB leaves a node with a small heap alive, and other clients served', async () => {
    const small = await spawnNode(database, {
      NODE_OPTIONS: '--max-old-space-size=256',
      STARCITE_ANSWER_MEMORY: '48MB',
    })
    try {
      const page = `/v1/sessions/${long}/events?limit=9`
      await Promise.all(Array.from({ length: 40 }, () => unread(small.url, page, page, page)))
      const id = await session()

      for (let i = 0; i < 20; i += 1)
        expect(
          (await call('POST', at(small.url, id, '/append'), { type: 'a', payload: {} })).status,
        ).to.equal(201)
      await until('the neighbour has its page', async () => {
        const { status, json } = await call('GET', at(small.url, id, '/events'))
        expect(status).to.be.oneOf([200, 503]) // 503: it may come back
        return status === 200 && json.events.length === 20
      })
      expect(small.child.exitCode, small.output()).to.equal(null)
    } finally {
      await small.kill('SIGKILL')
    }
  })

  it('of sessions ends a page at 8 MB, and shows each once', async () => {
    const team = unique()
    const text = 'x'.repeat(60 * KB)
    const ids: string[] = []
    for (let i = 0; i < 80; i += 1) {
      const id = `${team}-${i}`
      ids.push(id)
      const body = { id, metadata: { team, text }, creator_principal: { id: 'a', text } }
      expect((await call('POST', `${node.url}/v1/sessions`, body)).status).to.equal(201)
    }

    const pages: string[][] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const from: string = cursor && `&cursor=${encodeURIComponent(cursor)}`
      const page = await call('GET', `${node.url}/v1/sessions?limit=1000&metadata.team=${team}${from}`)
      expect(page.text.length).to.be.below(9 * MB)
      pages.push(page.json.sessions.map((session: { id: string }) => session.id))
      cursor = page.json.next_cursor
    }

    expect(pages.length).to.equal(2)
    expect(pages.flat().sort()).to.deep.equal(ids.sort())
  })

  /** The beginning of a text frame that says it has so many bytes, masked with zeros. */
  function unfinished(bytes: number, said: number, first = 0x81): Buffer {
    const head = Buffer.alloc(14)
    head[0] = first
    head[1] = 0x80 | 127
    head.writeBigUInt64BE(BigInt(said), 2)
    return Buffer.concat([head, Buffer.alloc(bytes, 'x')])
  }
  async function open(
    path: string,
    base = node.url,
  ): Promise<{ ws: WebSocket; closed: () => { code: number; reason: string } | undefined }> {
    const ws = new WebSocket(`${base.replace('http', 'ws')}${path}`)
    let closed: { code: number; reason: string } | undefined
    ws.on('close', (code, reason) => {
      closed = { code, reason: String(reason) }
    })
    ws.on('error', () => {})
    sockets.push({ destroy: () => ws.terminate() })
    await once(ws, 'open')
    return { ws, closed: () => closed }
  }
  const rawSocket = ({ ws }: { ws: WebSocket }) => (ws as unknown as { _socket: Socket })._socket

  it('of half a frame has a bound, beyond it is closed 1013 overloaded, and a neighbour is served', async () => {
    const crowd = await Promise.all(Array.from({ length: 8 }, () => open('/v1/socket/websocket?vsn=2.0.0')))
    for (const client of crowd) rawSocket(client).write(unfinished(400 * KB, MB))

    await until('some are closed', () => crowd.filter(({ closed }) => closed()).length >= 5)
    for (const { closed } of crowd)
      if (closed()) expect(closed()).to.deep.equal({ code: 1013, reason: 'overloaded' })
    expect(await gauge('starcite_body_bytes')).to.be.within(1, MB)

    const neighbour = await SocketClient.open(node.url, 'vsn=2.0.0', NEIGHBOUR)
    sockets.push(neighbour.ws as unknown as { destroy(): void })
    const id = await session()
    await neighbour.join(`tail:${id}`)
    neighbour.send(['1', '2', `tail:${id}`, 'append', { type: 'a', payload: { text: 'x'.repeat(500 * KB) } }])
    expect(await neighbour.reply('2')).to.have.property('status', 'ok')
    neighbour.close()
    sockets.pop()

    for (const { ws } of crowd) ws.terminate()
    await until('all is given back', async () => (await gauge('starcite_body_bytes')) === 0)
  })

  for (const [what, path] of [
    ['a raw tail', (id: string) => `/v1/sessions/${id}/tail`],
    ['the multiplexed socket', () => '/v1/socket/websocket?vsn=2.0.0'],
  ] as const)
    it(`of half a message on ${what} has a time-out, which pings do not extend`, async () => {
      const hasty = await startNode(database, { STARCITE_REQUEST_TIMEOUT: '300ms' })
      const client = await open(path(await session()), hasty.url)
      const socket = rawSocket(client)
      const ping = Buffer.from([0x89, 0x80, 0, 0, 0, 0])
      socket.write(unfinished(100, 100, 0x01)) // the first fragment, which is not the last
      const pinging = setInterval(() => socket.write(ping), 50)

      await until('it is closed', client.closed)
      clearInterval(pinging)
      await hasty.stop()

      expect(client.closed()).to.deep.equal({ code: 4008, reason: 'message_timeout' })
    })

  it('of messages that are complete is nothing, however many come, with pings among them', async () => {
    const client = await open('/v1/socket/websocket?vsn=2.0.0')
    let replies = 0
    client.ws.on('message', () => {
      replies += 1
    })
    for (let i = 0; i < 200; i += 1) {
      client.ws.send(JSON.stringify([null, String(i), 'phoenix', 'heartbeat', { text: 'x'.repeat(20 * KB) }]))
      client.ws.ping('ping')
    }
    await until('all are answered', () => replies === 200)

    await until('nothing is held', async () => (await gauge('starcite_body_bytes')) === 0)
    expect(client.closed()).to.equal(undefined)
  })

  it('of tails whose readers take nothing has a bound: they are cut, and a neighbour reads on', async () => {
    const crowd = await Promise.all(
      Array.from({ length: 6 }, async (_, i) => {
        if (i % 2 === 0)
          return unread(node.url, `/v1/sessions/${long}/tail HTTP/1.1\r\nAccept: text/event-stream\r\nX: x`)
        const client = await open(`/v1/sessions/${long}/tail`)
        return rawSocket(client).pause()
      }),
    )
    await until('some are cut', async () => (await tails()) <= 3)
    expect(await gauge('starcite_unread_bytes')).to.be.at.most(2 * MB)

    const seqs: number[] = []
    const neighbour = new WebSocket(`${node.url.replace('http', 'ws')}/v1/sessions/${long}/tail`, NEIGHBOUR)
    neighbour.on('message', (data) => seqs.push(JSON.parse(String(data)).seq))
    await until('the neighbour has it all', () => seqs.length === 24)
    neighbour.terminate()
    for (const socket of crowd) socket.destroy()
    await until('all is given back', async () => (await gauge('starcite_unread_bytes')) === 0)
  })
  const tails = () => gauge('starcite_tails')
})
