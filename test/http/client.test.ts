import { expect } from 'chai'
import { WebSocket } from 'ws'
import type { StarciteError } from '../../src/client/errors.ts'
import { Starcite } from '../../src/client/starcite.ts'
import type { SessionEvent } from '../../src/client/types.ts'
import { call } from '../support/client.ts'
import { TcpProxy } from '../support/tcpProxy.ts'
import { until } from '../support/until.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

type Events = { content: { n: number; text?: string } }

const content = (n: number, more: object = {}) => ({ type: 'content' as const, payload: { n, ...more } })
const count = (n: number, from = 1) => Array.from({ length: n }, (_, i) => i + from)

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const item of items) found.push(item)
  return found
}

const rejection = (promise: Promise<unknown>): Promise<StarciteError> =>
  promise.then(
    () => expect.fail('it was not refused'),
    (error) => error,
  )

describe('the client', () => {
  const database = useDatabase()
  const node = useNode(database, { STARCITE_PING_INTERVAL: '100ms' })
  /** Its pings are so rare that a client that does not read for a while stays connected. */
  const patient = useNode(database)
  let client: Starcite<Events>

  before(async () => {
    client = new Starcite({ url: node.url, WebSocket })
  })

  it('creates, gets, changes, archives and lists sessions, page after page', async () => {
    const made = await client.createSession({ id: 'a/b c', title: 'One', metadata: { team: 'list', n: 1 } })
    await client.createSession({ id: 'later', metadata: { team: 'list' } })
    await client.createSession({ id: 'other', metadata: { team: 'x' } })
    const patched = await client.patch('a/b c', { title: null, metadata: { n: 2 }, expected_version: 1 })
    const archived = await client.archive('a/b c')

    expect(made).to.include({ id: 'a/b c', title: 'One', last_seq: 0 })
    expect(patched).to.deep.include({ title: null, metadata: { team: 'list', n: 2 }, version: 2 })
    expect(archived.archived).to.equal(true)
    expect(await client.getSession('a/b c')).to.deep.equal(archived)
    const list = async (archived?: boolean | 'all') => {
      const options = { metadata: { team: 'list' }, pageSize: 1, ...(archived !== undefined && { archived }) }
      return (await all(client.listSessions(options))).map((session) => session.id)
    }
    expect(await list()).to.deep.equal(['later'])
    expect(await list(true)).to.deep.equal(['a/b c'])
    expect(await list('all')).to.deep.equal(['a/b c', 'later'])
    expect((await client.unarchive('a/b c')).archived).to.equal(false)
  })

  it('tells refusals by code, with what the server says beside', async () => {
    await client.createSession({ id: 'refusals' })
    const session = client.session('refusals')
    await session.append(content(1))

    const conflict = await rejection(session.append(content(2), { expectedSeq: 5 }))
    const taken = await rejection(client.createSession({ id: 'refusals' }))
    const batch = await rejection(session.appendMany([content(2), { ...content(3), refs: { step: -1 } }]))
    const nowhere = new Starcite({ url: 'http://127.0.0.1:9' })

    expect(conflict).to.include({ code: 'expected_seq_conflict', status: 409, retryable: false })
    expect(conflict.details).to.include({ current_seq: 1 })
    expect(taken.code).to.equal('session_exists')
    expect(batch.details).to.include({ index: 1 })
    const lost = await rejection(nowhere.createSession())
    expect(lost).to.include({ code: 'network_error', status: 0, retryable: true })
  })

  it('reads history in both directions, with the text of each event', async () => {
    await client.createSession({ id: 'history' })
    const session = client.session('history')
    await session.appendMany(count(10).map((n) => content(n)))
    await session.append(
      '{"type":"content","payload":{"n":9007199254740993,"deep":[{"s":"],{\\""}]},"actor":"x"}',
    )

    const up = await all(session.history({ pageSize: 3 }))
    const down = await all(session.history({ order: 'desc', pageSize: 4 }))
    const some = await all(session.history({ order: 'desc', cursor: 4, actor: 'anonymous' }))

    expect(up.map((event) => event.seq)).to.deep.equal(count(11))
    expect(down.map((event) => event.seq)).to.deep.equal(count(11).reverse())
    expect(some.map((event) => event.seq)).to.deep.equal([3, 2, 1])
    expect(up.at(-1)?.raw).to.include('"payload":{"n":9007199254740993,"deep":[{"s":"],{\\""}]}')
    expect(down[0]?.raw).to.equal(up.at(-1)?.raw)
  })

  it('shows a redacted event as one, in history and in a tail', async () => {
    await client.createSession({ id: 'redacted' })
    const session = client.session('redacted')
    await session.appendMany([content(1), content(2)])
    const { status } = await call('POST', `${node.url}/v1/sessions/redacted/events/1/redact`, {})

    const shown = async (events: AsyncIterable<SessionEvent<Events>>) =>
      (await all(events)).map((event) => [event.seq, event.redacted ?? event.payload.n])

    expect(status).to.be.oneOf([200, 202])
    const expected = [
      [1, true],
      [2, 2],
    ]
    expect(await shown(session.history())).to.deep.equal(expected)
    expect(await shown(session.tail({ follow: false }))).to.deep.equal(expected)
  })

  it('tails whole and without repeat through a link that is cut, silenced and refused', async () => {
    await client.createSession({ id: 'faults' })
    const session = client.session('faults')
    const proxy = await TcpProxy.start({ url: node.url })
    const through = new Starcite<Events>({ url: proxy.url, WebSocket })
    const silence = (traffic: 'silent' | 'silent towards the client') => {
      proxy.silence(traffic)
      proxy.flow() // for the connections to come; the one there is stays dead but open
    }
    const faults = [
      () => proxy.cut(),
      () => silence('silent'),
      () => proxy.refuse(),
      () => silence('silent towards the client'),
    ]
    const seen: SessionEvent<Events>[] = []
    const waits: string[] = []

    await session.append(content(1))
    for await (const event of through.session('faults').tail({
      silenceMs: 300,
      onConnection: ({ at }) => {
        waits.push(at)
        if (at === 'waiting') proxy.flow()
      },
    })) {
      seen.push(event)
      if (event.seq === 5) break
      faults.shift()?.()
      await session.append(content(event.seq + 1))
    }
    await proxy.stop()

    const direct = await all(session.tail({ follow: false }))
    expect(seen.map((event) => event.raw)).to.deep.equal(direct.map((event) => event.raw))
    expect(seen.map((event) => event.seq)).to.deep.equal(count(5))
    expect(waits.filter((wait) => wait === 'open').length).to.be.at.least(5)
  })

  it('tails by server-sent events, in silence, over cuts, and to an end', async () => {
    await client.createSession({ id: 'stream' })
    const session = client.session('stream')
    await session.appendMany([1, 2].map((n) => content(n, { text: '\n\ndata: {"seq":9}\r\n' })))
    const proxy = await TcpProxy.start({ url: node.url })
    const through = new Starcite<Events>({ url: proxy.url }).session('stream')
    const seen: SessionEvent<Events>[] = []
    const transports = new Set<string>()

    for await (const event of through.tail({
      transport: 'sse',
      onConnection: (state) => state.at === 'open' && transports.add(state.transport),
    })) {
      seen.push(event)
      if (event.seq === 4) break
      if (event.seq < 2) continue
      proxy.cut()
      await session.append(content(event.seq + 1))
    }
    const finite = await all(through.tail({ transport: 'sse', follow: false }))
    const nothing = await all(through.tail({ transport: 'sse', follow: false, cursor: 4 }))
    await proxy.stop()

    const direct = await all(session.tail({ follow: false }))
    expect(seen.map((event) => event.raw)).to.deep.equal(direct.map((event) => event.raw))
    expect(finite.map((event) => event.raw)).to.deep.equal(direct.map((event) => event.raw))
    expect(nothing).to.deep.equal([])
    expect([...transports]).to.deep.equal(['sse'])
  })

  it('keeps a quiet tail without asking for missed events while the node pings', async () => {
    await client.createSession({ id: 'quiet' })
    let [pings, asked] = [0, 0]
    class Watched extends WebSocket {
      constructor(url: string) {
        super(url)
        this.on('ping', () => {
          pings += 1
        })
      }
    }
    const watched = new Starcite<Events>({
      url: node.url,
      WebSocket: Watched,
      fetch: (url, init) => {
        asked += 1
        return fetch(url, init)
      },
    })
    const tail = watched.session('quiet').tail({ silenceMs: 1000 })

    const first = tail.next()
    await until('more than the silence has passed', () => pings > 12)
    expect(asked).to.equal(0)
    await client.session('quiet').append(content(1))

    expect((await first).value?.seq).to.equal(1)
    await tail.return()
  })

  it('reads at its own pace, and holds little of what it has not read', async () => {
    await client.createSession({ id: 'slow' })
    const session = client.session('slow')
    const text = 'x'.repeat(20_000)
    await session.appendMany(count(100).map((n) => content(n, { text })))
    const sockets: WebSocket[] = []
    class Watched extends WebSocket {
      constructor(url: string) {
        super(url)
        sockets.push(this)
      }
    }
    const slow = new Starcite<Events>({ url: patient.url, WebSocket: Watched })
    const tail = slow.session('slow').tail()

    const first = await tail.next()
    await until('the client stops reading', () => sockets[0]?.isPaused)
    const rest = [first.value as SessionEvent<Events>]
    while (rest.length < 100) rest.push((await tail.next()).value as SessionEvent<Events>)
    await tail.return()

    expect(rest.map((event) => event.payload.n)).to.deep.equal(count(100))
    expect(sockets.length).to.equal(1)
  })
})
