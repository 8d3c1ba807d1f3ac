import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { Starcite } from '../../src/client/starcite.ts'
import type { EmbeddedPostgres } from '../../src/db/embedded/server.ts'
import type { Service } from '../../src/service.ts'
import { at, expectError } from '../support/answers.ts'
import { call, refusedUpgrade, TailClient } from '../support/client.ts'
import { EmbeddedPostgresLab, query } from '../support/embeddedPostgres.ts'
import { EventStreamClient } from '../support/eventStreamClient.ts'
import { startNode } from '../support/node.ts'
import { ReplicatedPostgres, setAndReload } from '../support/replicated.ts'
import { SocketClient } from '../support/socketClient.ts'
import { TcpProxy } from '../support/tcpProxy.ts'
import { until } from '../support/until.ts'

/** Longer than the test: what is found out, is found out because the server is another one. */
const SETTINGS = { STARCITE_POLL_INTERVAL: '5m', STARCITE_STORAGE_TIMEOUT: '10s' }

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanUp of cleanups.splice(0).reverse()) await cleanUp()
})

async function startNodes(proxy: TcpProxy): Promise<[Service, Service]> {
  const nodes: [Service, Service] = [await startNode(proxy, SETTINGS), await startNode(proxy, SETTINGS)]
  for (const node of nodes) cleanups.push(() => node.stop())
  return nodes
}

const create = (node: Service, id: string) => call('POST', `${node.url}/v1/sessions`, { id })
const texts = async (node: Service, id: string) =>
  ((await call('GET', at(node.url, id, '/events'))).json.events as { payload: { text: string } }[]).map(
    (event) => event.payload.text,
  )

/** Appends once the database takes it again. */
async function append(node: Service, id: string, ...names: string[]): Promise<void> {
  for (const text of names)
    await until(`${text} is appended`, async () => {
      const answer = await call('POST', at(node.url, id, '/append'), { type: 't', payload: { text } })
      return answer.status === 201
    })
}

const shown = (tail: TailClient) => tail.events.map((event) => JSON.parse(event).payload.text)
const ended = (tail: TailClient) => tail.until(({ closed }) => closed !== undefined)

/** Everything that reads a session of three events that will lose the last three of six, on this node. */
async function readersOf(node: Service, id: string) {
  const raw = new TailClient(node.url, id, 'cursor=0')
  const late = new TailClient(node.url, id, 'cursor=6')
  const stream = new EventStreamClient(at(node.url, id, '/tail'))
  const socket = await SocketClient.open(node.url)
  await socket.join(`tail:${id}`)
  const poll = call('GET', at(node.url, id, '/events?cursor=6&wait=60'))
  const mine: string[] = []
  const client = (async () => {
    for await (const { payload } of new Starcite({ url: node.url, WebSocket }).session(id).tail())
      mine.push(String(payload.text))
  })().catch((error) => error)
  cleanups.push(() => {
    raw.close()
    late.close()
    stream.close()
    socket.ws.terminate()
  })
  await raw.until((client) => client.events.length === 6)
  await stream.until('it has all', (client) => client.messages.length === 6)
  await until('the topic has all', () => socket.events(`tail:${id}`).length === 6)
  await until('the client has all', () => mine.length === 6)
  return { raw, late, stream, socket, poll, client, mine }
}

/** All of them hear that the history is another one, and none was shown anything of it. */
async function expectAllTold(readers: Awaited<ReturnType<typeof readersOf>>, id: string): Promise<void> {
  const { raw, late, stream, socket, poll, client, mine } = readers
  await Promise.all([ended(raw), ended(late), stream.until('it ends', (client) => client.ended)])
  expect(raw.closed).to.deep.equal({ code: 4009, reason: 'history_changed' })
  expect(late.closed).to.deep.equal({ code: 4009, reason: 'history_changed' })
  expect(stream.text).to.include('event: history_changed\ndata: {"error":"history_changed"')
  expect(stream.response?.complete).to.equal(false)
  expect((await socket.event('history_changed'))[4]).to.deep.equal({ reason: 'history_changed' })
  await socket.event('phx_close')
  expect(await poll).to.include({ status: 409 })
  expect((await poll).json.error).to.equal('history_changed')
  expect(await client).to.include({ code: 'history_changed', retryable: false })
  for (const seen of [
    shown(raw),
    mine,
    stream.events.slice(0, 6).map((event) => JSON.parse(event).payload.text),
  ])
    expect(seen).to.deep.equal(['1', '2', '3', 'lost 4', 'lost 5', 'lost 6'])
  expect(socket.events(`tail:${id}`)).to.have.length(6)
}

/** A reader that was away meanwhile stands at event 6, which was another one, and the log is at 7 by now. */
async function expectLateComerTold(node: Service, id: string, insertedAt: string): Promise<void> {
  const query = `cursor=6&cursor_inserted_at=${insertedAt}`
  for (const order of ['asc', 'desc'])
    expectError(
      await call('GET', at(node.url, id, `/events?order=${order}&${query}`)),
      ...([409, 'history_changed', { last_seq: 7 }] as const),
    )
  expectError(await refusedUpgrade(at(node.url, id, `/tail?${query}`)), 409, 'history_changed')
  const sse = { accept: 'text/event-stream' }
  expectError(await call('GET', at(node.url, id, `/tail?${query}`), undefined, sse), 409, 'history_changed')
  const socket = await SocketClient.open(node.url)
  cleanups.push(() => socket.ws.terminate())
  expect(await socket.join(`tail:${id}`, { cursor: 6, cursor_inserted_at: insertedAt })).to.deep.equal({
    status: 'error',
    response: { reason: 'history_changed' },
  })
  const tails = [{ session_id: id, cursor: 6, cursor_inserted_at: insertedAt }]
  const many = await call('POST', `${node.url}/v1/tails`, { tails }, sse)
  expect(many.text).to.include('"error":"history_changed"')
  for (const transport of ['websocket', 'sse'] as const) {
    const session = new Starcite({ url: node.url, WebSocket }).session(id)
    const first = session.tail({ cursor: 6, cursorInsertedAt: insertedAt, transport }).next()
    expect(await first.catch((error) => error)).to.include({ code: 'history_changed', status: 409 })
  }
}

/** An outbox, of whose producer the server knows two events or none, with two more acknowledged that will be lost. */
async function openOutbox(node: Service, id: string) {
  const told: string[] = []
  const saved = id === 'unknown' ? undefined : JSON.stringify({ producer_id: id, next: 3, pending: [] })
  const outbox = new Starcite({ url: node.url }).session(id).outbox({
    store: { load: async () => saved, save: async () => {} },
    ...(id === 'own' && { producerId: 'own' }),
    onHistoryChanged: ({ code }) => void told.push(code),
  })
  for (const text of ['lost 3', 'lost 4']) await outbox.send({ type: 't', payload: { text } })
  return { id, outbox, told }
}

/** The feed has grown beyond a cursor that was of what is gone. */
async function expectFeedChecked(
  node: Service,
  { cursor, cursor_at }: Record<string, string>,
): Promise<void> {
  for (let i = 0; i < 5; i += 1) await create(node, `later ${i}`)
  const url = `${node.url}/v1/lifecycle?cursor=${cursor}`
  const isThere = async () => (await call('HEAD', url)).status === 200
  await until('the feed has grown as far', isThere)

  expectError(await call('GET', `${url}&cursor_at=${cursor_at}`), 409, 'history_changed')
  const socket = await SocketClient.open(node.url)
  cleanups.push(() => socket.ws.terminate())
  expect(await socket.join('lifecycle', { cursor, cursor_at })).to.deep.equal({
    status: 'error',
    response: { reason: 'history_changed' },
  })
  const next = new Starcite({ url: node.url })
    .lifecycle({ cursor: `${cursor}`, cursorAt: `${cursor_at}` })
    .next()
  expect(await next.catch((error) => error)).to.include({ code: 'history_changed', retryable: false })
}

describe('a node whose database goes back', function () {
  this.timeout(120_000)

  it('by a restore: ends the tails of what has changed, and those alone; what is read is what is stored', async () => {
    const lab = await EmbeddedPostgresLab.open()
    cleanups.push(() => lab.end())
    let server: EmbeddedPostgres = await lab.start()
    const proxy = await TcpProxy.start(server)
    cleanups.push(() => proxy.stop())
    const first = await startNode(proxy, SETTINGS)
    for (const id of ['changed', 'same', 'empty']) await create(first, id)
    await append(first, 'changed', '1', '2', '3')
    await append(first, 'same', '1', '2')
    for (const id of ['own', 'random', 'unknown']) {
      await create(first, id)
      for (const producer_seq of id === 'unknown' ? [] : [1, 2])
        await call('POST', at(first.url, id, '/append'), {
          ...{ type: 't', payload: { text: `${producer_seq}` }, producer_id: id, producer_seq },
        })
    }
    await first.stop()
    await server.stop()
    await promisify(execFile)('cp', ['-a', server.dir, lab.path('backup')])
    server = await lab.start()
    proxy.moveTo(server)

    const nodes = await startNodes(proxy)
    await append(nodes[0], 'changed', 'lost 4', 'lost 5', 'lost 6')
    await create(nodes[0], 'lost')
    const readers = await Promise.all(nodes.map((node) => readersOf(node, 'changed')))
    const outboxes = await Promise.all(['own', 'random', 'unknown'].map((id) => openOutbox(nodes[0], id)))
    const feeds = nodes.map((node) => new EventStreamClient(`${node.url}/v1/lifecycle?cursor=0.0`))
    const isOfLost = ({ data }: { data: string }) => data.includes('"session_id":"lost"')
    for (const feed of feeds)
      await feed.until('it tells of the last session', (client) => client.messages.some(isOfLost))
    const others = nodes.flatMap((node) => ['same', 'empty'].map((id) => new TailClient(node.url, id, '')))
    const lost = nodes.map((node) => new TailClient(node.url, 'lost', ''))
    cleanups.push(() => {
      for (const tail of [...others, ...lost, ...feeds]) tail.close()
    })
    await until(
      'they have what there is',
      () => others.filter((other) => other.events.length === 2).length === 2,
    )

    process.kill(server.pid, 'SIGKILL')
    const restored = await lab.start({ dir: lab.path('backup') })
    proxy.moveTo(restored)
    proxy.cut()
    // The number that the lost session had is given to another one.
    await until('a session is created', async () => (await create(nodes[0], 'another')).status === 201)
    await append(nodes[0], 'another', 'of another')
    await append(nodes[0], 'changed', 'new 4', 'new 5', 'new 6', 'new 7')
    await append(nodes[1], 'same', '3')
    await append(nodes[1], 'empty', '1')

    for (const of of readers) await expectAllTold(of, 'changed')
    for (const tail of lost) {
      await ended(tail)
      expect([tail.closed?.code, tail.events]).to.deep.equal([4009, []])
    }
    const stored = ['1', '2', '3', 'new 4', 'new 5', 'new 6', 'new 7']
    for (const node of nodes) {
      expect(await texts(node, 'changed')).to.deep.equal(stored)
      const again = new TailClient(node.url, 'changed', 'cursor=3&follow=false')
      await ended(again)
      expect(shown(again)).to.deep.equal(stored.slice(3))
    }
    for (const [i, tail] of others.entries()) {
      const expected = i % 2 === 0 ? ['1', '2', '3'] : ['1']
      await tail.until((client) => client.events.length === expected.length)
      expect([shown(tail), tail.closed]).to.deep.equal([expected, undefined])
    }
    for (const { id, outbox, told } of outboxes) {
      await Promise.all(['5', '6'].map((text) => outbox.send({ type: 't', payload: { text } })))
      await outbox.close()
      expect(await texts(nodes[0], id), id).to.deep.equal(
        id === 'unknown' ? ['5', '6'] : ['1', '2', '5', '6'],
      )
      expect(told, id).to.deep.equal(['history_changed'])
    }
    for (const feed of feeds) {
      await feed.until('it ends', (client) => client.ended)
      expect(feed.text).to.match(/event: history_changed\ndata: \{"error":"history_changed"[^\n]*\n\n$/)
      expect(feed.text).not.to.include('another')
      expect(feed.response?.complete).to.equal(false)
    }
    await expectFeedChecked(nodes[0], JSON.parse(feeds[0]?.messages.find(isOfLost)?.data ?? ''))
    const lastSeen = JSON.parse(readers[0]?.raw.events[5] ?? '').inserted_at
    for (const node of nodes) await expectLateComerTold(node, 'changed', lastSeen)
    const { text } = await call('GET', `${nodes[0].url}/metrics`)
    expect(text).to.match(/^starcite_history_changed_total 3$/m)
  })

  it('by a failover to a standby that lagged: the same', async () => {
    let wire: TcpProxy | undefined
    const postgres = await ReplicatedPostgres.start(async (primary) => {
      wire = await TcpProxy.start(primary)
      return wire
    })
    cleanups.push(
      () => postgres.end(),
      () => wire?.stop(),
    )
    const proxy = await TcpProxy.start(postgres.primary)
    cleanups.push(() => proxy.stop())
    const nodes = await startNodes(proxy)
    for (const id of ['changed', 'same']) await create(nodes[0], id)
    await append(nodes[0], 'changed', '1', '2', '3')
    await append(nodes[0], 'same', '1', '2')
    await setAndReload(postgres.primary, 'synchronous_standby_names', '')
    wire?.refuse()
    await until('it receives no more', async () => {
      const rows = await query(postgres.primary, 'select from pg_catalog.pg_stat_replication r')
      return rows.length === 0
    })
    await append(nodes[0], 'changed', 'lost 4', 'lost 5', 'lost 6')
    const readers = await Promise.all(nodes.map((node) => readersOf(node, 'changed')))
    const others = nodes.map((node) => new TailClient(node.url, 'same', ''))
    cleanups.push(() => {
      for (const tail of others) tail.close()
    })
    await until('they have what there is', () => others.every((other) => other.events.length === 2))

    process.kill(postgres.primary.pid, 'SIGKILL')
    proxy.moveTo(postgres.standby)
    proxy.cut()
    // It is read from before it is the primary, and cannot say yet what it will have.
    await until(
      'it is read from',
      async () => (await call('GET', at(nodes[0].url, 'same', '/events'))).status === 200,
    )
    const seen = `cursor=6&cursor_inserted_at=${JSON.parse(readers[0]?.raw.events[5] ?? '').inserted_at}`
    for (const query of [seen, `${seen}&order=desc`])
      expectError(
        await call('GET', at(nodes[0].url, 'changed', `/events?${query}`)),
        503,
        'storage_unavailable',
      )
    await postgres.promote()
    await append(nodes[1], 'changed', 'new 4', 'new 5', 'new 6', 'new 7')
    await append(nodes[1], 'same', '3')

    for (const of of readers) await expectAllTold(of, 'changed')
    for (const node of nodes)
      expect(await texts(node, 'changed')).to.deep.equal(['1', '2', '3', 'new 4', 'new 5', 'new 6', 'new 7'])
    for (const tail of others) {
      await tail.until((client) => client.events.length === 3)
      expect([shown(tail), tail.closed]).to.deep.equal([['1', '2', '3'], undefined])
    }
  })
})
