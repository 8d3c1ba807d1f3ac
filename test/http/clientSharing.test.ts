import { expect } from 'chai'
import { WebSocket } from 'ws'
import type { StarciteOptions } from '../../src/client/core/starcite.ts'
import type { StarciteError } from '../../src/client/errors.ts'
import { Starcite } from '../../src/client/starcite.ts'
import type { TailOptions, TailState } from '../../src/client/tail/tail.ts'
import type { Service } from '../../src/service.ts'
import { call } from '../support/client.ts'
import { Issuer, inSeconds } from '../support/issuer.ts'
import { startNode } from '../support/node.ts'
import type { FreshDatabase } from '../support/postgres.ts'
import { TcpProxy } from '../support/tcpProxy.ts'
import { migratedDatabase } from '../support/template.ts'
import { until } from '../support/until.ts'

const count = (n: number, from = 1) => Array.from({ length: n }, (_, i) => i + from)

/** A tail that is read to its end: what came, what it said of its connection, and how it ended. */
class Reading {
  readonly raws: string[] = []
  readonly seqs: number[] = []
  readonly states: TailState[] = []
  readonly ended: Promise<StarciteError | undefined>
  readonly #abort = new AbortController()

  constructor(client: Starcite, id: string, options: TailOptions = {}, pace?: () => Promise<unknown>) {
    const { signal } = this.#abort
    const onConnection = (state: TailState) => this.states.push(state)
    this.ended = (async () => {
      for await (const event of client.session(id).tail({ ...options, signal, onConnection })) {
        this.raws.push(event.raw)
        this.seqs.push(event.seq)
        await pace?.()
      }
    })().then(
      () => undefined,
      (error: StarciteError) => error,
    )
  }

  get isOpen(): boolean {
    return this.states.at(-1)?.at === 'open'
  }

  async stop(): Promise<void> {
    this.#abort.abort()
    await this.ended
  }
}

for (const transport of ['websocket', 'sse'] as const)
  describe(`tails of one client that share a connection (${transport})`, () => {
    let database: FreshDatabase
    let node: Service
    let writer: Starcite
    let proxy: TcpProxy
    const readings: Reading[] = []
    let names = 0

    before(async () => {
      database = await migratedDatabase()
      node = await startNode(database, { STARCITE_SSE_KEEPALIVE: '200ms' })
      writer = new Starcite({ url: node.url, WebSocket })
    })
    beforeEach(async () => {
      proxy = await TcpProxy.start({ url: node.url })
    })
    afterEach(async () => {
      await Promise.all(readings.splice(0).map((reading) => reading.stop()))
      await proxy.stop()
    })
    after(async () => {
      await node?.stop()
      await database?.drop()
    })

    /** Connections for tails go by way of the proxy; requests do not. */
    function sharing(more: Partial<StarciteOptions> = {}) {
      const asked: string[] = []
      let opened = 0
      class Proxied extends WebSocket {
        constructor(url: string) {
          super(
            url.replace(node.url.replace('http', 'ws'), proxy.url.replace('http', 'ws').replace(/\/$/, '')),
          )
          opened += 1
        }
      }
      const client = new Starcite({
        url: node.url,
        share: 'page',
        WebSocket: Proxied,
        fetch: (url, init) => {
          const { pathname, search, origin } = new URL(url)
          asked.push(`${init.method} ${pathname}${search}`)
          if (pathname !== '/v1/tails') return fetch(url, init)
          opened += 1
          return fetch(url.replace(origin, proxy.url.replace(/\/$/, '')), init)
        },
        ...more,
      })
      return { client, asked, opened: () => opened }
    }
    function read(client: Starcite, id: string, options: TailOptions = {}, pace?: () => Promise<unknown>) {
      const reading = new Reading(client, id, { transport, ...options }, pace)
      readings.push(reading)
      return reading
    }
    async function sessions(n: number): Promise<string[]> {
      const ids = count(n).map(() => {
        names += 1
        return `shared ${transport} ${names}`
      })
      await Promise.all(ids.map((id) => writer.createSession({ id })))
      return ids
    }
    const append = (id: string, n: number, payload: object = {}) =>
      writer.session(id).appendMany(count(n).map((i) => ({ type: 't', payload: { i, ...payload } })))
    async function textsOf(id: string): Promise<string[]> {
      const texts: string[] = []
      for await (const { raw } of writer.session(id).history({ pageSize: 1000 })) texts.push(raw)
      return texts
    }
    async function expectWhole(reading: Reading, id: string, from = 0): Promise<void> {
      const texts = (await textsOf(id)).slice(from)
      await until(`${texts.length} events`, () => reading.raws.length >= texts.length)
      expect(reading.seqs).to.deep.equal(count(texts.length, from + 1))
      expect(reading.raws).to.deep.equal(texts)
    }

    it('gives each its own events from its own cursor, two of one session too, on one connection', async () => {
      const ids = await sessions(12)
      await Promise.all(ids.map((id) => append(id, 3)))
      const { client, opened } = sharing()

      const all = ids.map((id, i) => read(client, id, { cursor: i % 4 }))
      await until('all are open', () => all.every((reading) => reading.isOpen))
      await Promise.all(ids.map((id) => append(id, 2)))
      const late = read(client, ids[0] as string)
      await until('it is open', () => late.isOpen)
      await Promise.all(ids.map((id) => append(id, 2)))

      for (const [i, reading] of all.entries()) await expectWhole(reading, ids[i] as string, i % 4)
      await expectWhole(late, ids[0] as string)
      expect(
        all.map(({ states }) => states.map((state) => state.at === 'open' && state.transport)),
      ).to.deep.equal(ids.map(() => [transport]))
      // An event stream is requested again when sessions join it, those of about the same time together.
      expect(opened()).to.be.at.most(transport === 'websocket' ? 1 : all.length / 2)
      await until('one connection is left', () => proxy.links === 1)
    })

    it('gives each event once and in order over connections that are cut, silenced and refused', async () => {
      const ids = await sessions(4)
      const { client } = sharing()
      const all = ids.map((id) => read(client, id, { silenceMs: 300 }))
      const silence = (traffic: 'silent' | 'silent towards the client') => {
        proxy.silence(traffic)
        proxy.flow()
      }
      const faults = [
        () => proxy.cut(),
        () => silence('silent'),
        () => proxy.refuse(),
        () => silence('silent towards the client'),
        () => proxy.cut(),
      ]

      for (const fault of faults) {
        await until('all are open', () => all.every((reading) => reading.isOpen))
        fault()
        await Promise.all(ids.map((id) => append(id, 3)))
        await until(
          'they notice',
          () =>
            all.some((reading) => !reading.isOpen) || all.every((reading) => reading.raws.length % 3 === 0),
        )
        proxy.flow()
        // Else the next request may wait on a dead connection that fetch has kept, until its time is out.
        if (transport === 'sse') proxy.cut()
        for (const [i, reading] of all.entries()) await expectWhole(reading, ids[i] as string)
      }
    })

    it('does not let a slow reader, or one from far back, stop or slow the others, and holds little for it', async () => {
      const [slow, quick] = (await sessions(2)) as [string, string]
      await append(slow, 900, { x: 'x'.repeat(3000) })
      const { client, asked } = sharing()
      let go = () => {}
      const gate = new Promise<void>((resolve) => {
        go = resolve
      })
      const other = read(client, quick)
      const stuck = read(client, slow, {}, () => gate)
      await until('both are open', () => stuck.isOpen && other.isOpen)
      const before = asked.length

      for (const _ of count(3)) await append(slow, 900, { x: 'x'.repeat(3000) })
      await append(quick, 5)
      await expectWhole(other, quick)
      expect(stuck.seqs).to.deep.equal([1])
      expect(asked.length).to.equal(before)
      go()

      await expectWhole(stuck, slow)
      expect(asked.slice(before).filter((request) => request.startsWith('GET')).length).to.be.at.least(3)
    })

    it('tells each tail of its own end: no such session, an erased one, a cursor ahead; the others go on', async () => {
      const [good, gone] = (await sessions(2)) as [string, string]
      const { client } = sharing()
      const all = [
        read(client, good),
        read(client, gone),
        read(client, 'nowhere'),
        read(client, good, { cursor: 9 }),
      ]
      await until('two are open', () => all.slice(0, 2).every((reading) => reading.isOpen))

      expect(await all[2]?.ended).to.include({ code: 'session_not_found' })
      expect(await all[3]?.ended).to.include({ code: 'cursor_ahead' })
      await call('DELETE', `${node.url}/v1/sessions/${encodeURIComponent(gone)}`)
      expect(await all[1]?.ended).to.include({ code: 'session_erased', status: 410 })
      await append(good, 2)
      await expectWhole(all[0] as Reading, good)
      expect(all[0]?.states.length).to.equal(1)
    })

    it('ends without an error, with follow: false at the last event, and closes connections without users', async () => {
      const [id] = (await sessions(1)) as [string]
      await append(id, 700)
      const { client } = sharing()

      const finite = read(client, id, { follow: false })
      expect(await finite.ended).to.equal(undefined)
      const empty = read(client, id, { follow: false, cursor: 700 })
      expect(await empty.ended).to.equal(undefined)
      const endless = read(client, id)
      await until('it is open', () => endless.isOpen)
      await endless.stop()

      expect(finite.seqs).to.deep.equal(count(700))
      expect(empty.seqs).to.deep.equal([])
      await until('the tail is over', async () => {
        const { text } = await call('GET', `${node.url}/metrics`)
        return text.includes('starcite_tails 0\n')
      })
    })
  })

describe('tails that share a connection', () => {
  let database: FreshDatabase
  before(async () => {
    database = await migratedDatabase()
  })
  after(async () => {
    await database?.drop()
  })

  it('fall back to one event stream where WebSockets do not come through', async () => {
    const node = await startNode(database)
    let handshakes = 0
    class Blocked extends WebSocket {
      constructor() {
        super('ws://127.0.0.1:9')
        handshakes += 1
      }
    }
    const client = new Starcite({ url: node.url, share: 'page', WebSocket: Blocked })
    const ids = ['one', 'two', 'three']
    for (const id of ids) await client.createSession({ id })
    const all = ids.map((id) => new Reading(client, id))
    await until('all are open', () => all.every((reading) => reading.isOpen))
    for (const id of ids) await client.session(id).append({ type: 't', payload: {} })
    await until('all have it', () => all.every((reading) => reading.seqs.length === 1))

    expect(handshakes).to.equal(2)
    for (const { states } of all) expect(states.at(-1)).to.include({ at: 'open', transport: 'sse' })
    await Promise.all(all.map((reading) => reading.stop()))
    await node.stop()
  })

  for (const transport of ['websocket', 'sse'] as const)
    it(`go on with another token when theirs is over, and end when there is none (${transport})`, async () => {
      const issuer = await Issuer.start()
      const node = await startNode(database, { ...issuer.settings, STARCITE_AUTH_JWT_LEEWAY_SECONDS: '0' })
      let tokens = 0
      const token = () => {
        tokens += 1
        return issuer.token({ exp: inSeconds(tokens === 1 ? 4 : 600) })
      }
      const good = new Starcite({ url: node.url, share: 'page', WebSocket, token })
      const fixed = await issuer.token({ exp: inSeconds(4) })
      const bad = new Starcite({ url: node.url, share: 'page', WebSocket, token: fixed })
      const id = `token ${transport}`
      await good.createSession({ id })
      const [renewed, ended] = [new Reading(good, id, { transport }), new Reading(bad, id, { transport })]
      try {
        expect(await ended.ended).to.include({ status: 401 })
        const opens = () => renewed.states.filter((state) => state.at === 'open').length
        await until('it is open again', () => opens() > 1 && renewed.isOpen)
        await good.session(id).append({ type: 't', payload: {} })
        await until('it has it', () => renewed.seqs.length === 1)
        expect(tokens).to.equal(2)
      } finally {
        await renewed.stop()
        await node.stop()
        await issuer.stop()
      }
    })
})
