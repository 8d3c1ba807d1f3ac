import { expect } from 'chai'
import type { StarciteError } from '../../src/client/errors.ts'
import type { OutboxOptions } from '../../src/client/outbox/outbox.ts'
import { memoryStore, type OutboxStore } from '../../src/client/outbox/store.ts'
import { Starcite } from '../../src/client/starcite.ts'
import { hurry } from '../support/hurry.ts'
import { answer, ModelServer } from '../support/modelServer.ts'

type Events = { content: { n: number } }

const KEY = 'starcite.outbox http://x.test/v1/sessions/s'
const content = (n: number) => ({ type: 'content' as const, payload: { n } })
const text = (n: number) => JSON.stringify(content(n))
const ns = (server: ModelServer) => server.payloads.map((payload) => (payload as { n: number }).n)
const saved = (pending: unknown[], next = 1) => JSON.stringify({ producer_id: 'random', next, pending })
const stored = (n: number, number: number) => ({
  seq: n,
  text: JSON.stringify({ producer_id: 'random', producer_seq: number, ...content(n) }),
  producer: `random ${number}`,
})

async function storeWith(value: string): Promise<OutboxStore> {
  const store = memoryStore()
  await store.save(KEY, value)
  return store
}

describe('an outbox whose store or server is not as it was', () => {
  let unhurry: () => void
  before(() => {
    unhurry = hurry()
  })
  after(() => unhurry())

  const open = (server: Pick<ModelServer, 'fetch'>, options: OutboxOptions) =>
    new Starcite<Events>({ url: 'http://x.test', fetch: server.fetch }).session('s').outbox(options)

  /** Opens an outbox on a store, sends one more event, and closes. Resolves with the calls of the callbacks, by event. */
  async function drain(server: ModelServer, store: OutboxStore, n: number, options: OutboxOptions = {}) {
    const [sent, refused, damaged]: [number[], string[], string[]] = [[], [], []]
    const outbox = open(server, {
      store,
      onSent: (_, event) => sent.push(JSON.parse(event).payload.n),
      onRefused: ({ code }, event) => refused.push(`${code} ${event}`),
      onDamaged: (damage) => damaged.push(damage.text),
      ...options,
    })
    await outbox.send(content(n))
    await outbox.close()
    return { sent, refused, damaged }
  }

  for (const [what, value] of [
    ['no JSON', '{"producer_id":"p","next":1,"pen'],
    ['JSON of something else', '[]'],
    ['a number that is none', '{"producer_id":"p","next":"1","pending":[]}'],
    ['an event that is no text', '{"producer_id":"p","next":1,"pending":[[{"n":1},null]]}'],
  ] as const)
    it(`with ${what} in its store uses another key, calls onDamaged, and leaves the value there`, async () => {
      const store = await storeWith(value)
      const server = new ModelServer()

      const first = await drain(server, store, 1)
      const second = await drain(server, store, 2)

      expect([first.damaged, second.damaged]).to.deep.equal([[value], [value]])
      expect(await store.load(KEY)).to.equal(value)
      expect(ns(server)).to.deep.equal([1, 2])
    })

  it('takes what is no event out of its store, and sends its neighbours', async () => {
    const bad = [
      '',
      'x',
      '7',
      '{}',
      '{"type":"a"},{"type":"b"}',
      '{"type":"a","producer_id":"q","producer_seq":1}',
    ]
    const store = await storeWith(
      saved([[text(1), 1], ...bad.map((value) => [value, null]), [text(2), null]], 2),
    )
    const server = new ModelServer()

    const { refused } = await drain(server, store, 3)

    expect(ns(server)).to.deep.equal([1, 2, 3])
    expect(refused).to.deep.equal(bad.map((value) => `invalid_event ${value}`))
  })

  it('closes the gap that a server restored to an earlier state shows', async () => {
    const server = new ModelServer([stored(1, 1)])
    const store = await storeWith(
      saved(
        [
          [text(2), 4],
          [text(3), null],
        ],
        5,
      ),
    )

    const { sent } = await drain(server, store, 4)

    expect(sent).to.deep.equal([2, 3, 4])
    expect(server.stored.map(({ producer }) => producer)).to.deep.equal(
      [1, 2, 3, 4].map((n) => `random ${n}`),
    )
  })

  it('finds in history what was stored before its store was rolled back, and sends the rest', async () => {
    const server = new ModelServer([stored(1, 1), stored(2, 2), stored(3, 3)])
    const store = await storeWith(
      saved(
        [
          [text(1), 1],
          [text(9), 2],
          [text(3), 3],
          [text(4), 4],
        ],
        5,
      ),
    )

    const { sent } = await drain(server, store, 5)

    expect(ns(server)).to.deep.equal([1, 2, 3, 9, 4, 5])
    expect(sent).to.deep.equal([1, 3, 9, 4, 5])
  })

  it('takes for stored what the server does not dedupe any more', async () => {
    const server = new ModelServer([stored(1, 1), stored(2, 2)])
    const forgetful = {
      fetch: async (url: string, init: RequestInit) => {
        const isOld =
          String(init.body).includes('"producer_seq":1,') && String(init.body).includes('"random"')
        const refusal = { error: 'producer_seq_conflict', message: 'no', expected_producer_seq: 3, index: 0 }
        return isOld ? answer(409, refusal) : server.fetch(url, init)
      },
    }
    const store = await storeWith(
      saved(
        [
          [text(1), 1],
          [text(2), 2],
        ],
        3,
      ),
    )

    const { sent } = await drain(forgetful as ModelServer, store, 3)

    expect(ns(server)).to.deep.equal([1, 2, 3])
    expect(sent).to.deep.equal([1, 2, 3])
  })

  it('keeps its events, and says why, when it may not look into history', async () => {
    const server = new ModelServer([stored(1, 1)])
    const deaf = {
      fetch: async (url: string, init: RequestInit) =>
        init.method === 'GET'
          ? answer(403, { error: 'forbidden_scope', message: 'no' })
          : server.fetch(url, init),
    }
    const store = await storeWith(saved([[text(2), 1]], 2))

    const error = await open(deaf, { store })
      .close()
      .catch((error) => error)
    const kept = await open(deaf, { store }).discard()

    expect(error).to.include({ code: 'producer_replay_conflict' })
    expect(kept.map(({ event }) => event)).to.deep.equal([content(2)])
    expect((await drain(server, store, 3)).sent).to.deep.equal([3])
  })

  it('keeps in its store what was sent just before it was stopped, and discards it when asked to', async () => {
    const [store, server] = [memoryStore(), new ModelServer()]
    const outbox = open(server, { store })
    const sent = outbox.send(content(1)).catch((error) => error.code)
    await outbox.stop()

    expect(await sent).to.equal('outbox_closed')
    expect((await drain(server, store, 2)).sent).to.deep.equal([1, 2])

    const other = open(server, { store })
    const given = other.send(content(3)).catch((error) => error.code)
    const discarded = await other.discard()

    expect(await given).to.equal('outbox_closed')
    expect(discarded.map(({ event }) => event)).to.deep.equal([content(3)])
    expect(other.events).to.deep.equal([])
    expect((await drain(server, store, 4)).sent).to.deep.equal([4])
  })

  it('drains a store that takes nothing more, which makes room', async () => {
    const kept = memoryStore()
    await kept.save(
      KEY,
      saved([
        [text(1), null],
        [text(2), null],
      ]),
    )
    const full = (await kept.load(KEY))?.length ?? 0
    const store: OutboxStore = {
      load: kept.load,
      save: async (key, value) => {
        if (value.length >= full) throw new Error('QuotaExceededError')
        await kept.save(key, value)
      },
    }
    const server = new ModelServer()

    const { sent } = await drain(server, store, 3)

    expect(sent).to.deep.equal([1, 2, 3])
    expect(ns(server)).to.deep.equal([1, 2, 3])
  })

  it('sends less at a time where what is large has no answer, and more again', async () => {
    const server = new ModelServer()
    const sizes: number[] = []
    let isBad = true
    const cutting = {
      fetch: async (url: string, init: RequestInit) => {
        const { length } = String(init.body)
        sizes.push(length)
        if (isBad && length > 120_000) throw new TypeError('write EPIPE')
        return server.fetch(url, init)
      },
    }
    const large = (n: number) => ({ ...content(n), metadata: { text: 'x'.repeat(50_000) } })
    const outbox = open(cutting, {})

    await Promise.all([1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => outbox.send(large(n))))
    isBad = false
    await Promise.all([10, 11, 12, 13, 14, 15, 16, 17, 18, 19].map((n) => outbox.send(large(n))))
    await outbox.close()

    expect(ns(server)).to.deep.equal(Array.from({ length: 19 }, (_, i) => i + 1))
    expect(sizes.slice(0, 3).every((size) => size > 400_000)).to.equal(true)
    expect(sizes.slice(-4).some((size) => size > 120_000)).to.equal(true)
  })

  it('gives a large request the time that a slow link takes for it', async () => {
    const real = globalThis.setTimeout
    const waits: number[] = []
    globalThis.setTimeout = ((run: () => void, ms: number) => {
      waits.push(ms)
      return real(run, ms)
    }) as typeof setTimeout
    const outbox = open(new ModelServer(), {})
    await outbox.send({ ...content(1), metadata: { text: 'x'.repeat(960_000) } })
    await outbox.close()
    globalThis.setTimeout = real

    expect(Math.max(...waits)).to.be.within(45_000, 46_000)
  })

  it('does not move numbers up over an event that may be stored, and was too large on its second way', async () => {
    for (const wasStored of [true, false]) {
      const server = new ModelServer()
      let tries = 0
      const proxied = {
        fetch: async (url: string, init: RequestInit) => {
          tries += 1
          if (tries === 1 && wasStored) await server.fetch(url, init)
          if (tries === 1) throw new TypeError('terminated')
          return String(init.body).length > 2000
            ? new Response('<html>', { status: 413 })
            : server.fetch(url, init)
        },
      }
      const outbox = open(proxied, { maxBatch: 1, producerId: 'mine' })
      const large = { ...content(1), metadata: { text: 'x'.repeat(3000) } }

      const [first, second] = await Promise.allSettled([outbox.send(large), outbox.send(content(2))])
      await outbox.close()

      expect(first).to.have.nested.property('reason.code', 'body_too_large')
      expect(second.status).to.equal('fulfilled')
      expect(ns(server)).to.deep.equal(wasStored ? [1, 2] : [2])
    }
  })

  it('keeps events for refusals that are about something else, and a small one from a 413 of something between', async () => {
    for (const [status, code] of [
      [415, 'unsupported_media_type'],
      [431, 'headers_too_large'],
      [403, 'forbidden'],
      [409, 'legal_hold'],
      [400, 'bad_request'],
      [418, 'of_a_later_server'],
    ] as const) {
      const store = memoryStore()
      const refusing = { fetch: async () => answer(status, { error: code, message: 'no' }) }
      const error = await open(refusing, { store })
        .send(content(1))
        .catch((error: StarciteError) => error)

      expect(error).to.include({ code, status })
      expect((await drain(new ModelServer(), store, 2)).sent, code).to.deep.equal([1, 2])
    }
    const server = new ModelServer()
    let tries = 0
    const small = {
      fetch: async (url: string, init: RequestInit) => {
        tries += 1
        return tries < 4 ? new Response('<html>', { status: 413 }) : server.fetch(url, init)
      },
    }
    await open(small, {}).send(content(1))
    expect(ns(server)).to.deep.equal([1])
  })

  it('settles every event of a batch when a callback throws', async () => {
    const server = new ModelServer()
    const thrown: unknown[] = []
    const listeners = process.listeners('unhandledRejection')
    process.removeAllListeners('unhandledRejection')
    process.on('unhandledRejection', (error) => thrown.push(error))
    const onSent = () => {
      throw new Error('of the page')
    }
    try {
      const outbox = open(server, { onSent })
      const answers = await Promise.all([1, 2, 3].map((n) => outbox.send(content(n))))
      await outbox.close()
      await new Promise((resolve) => setImmediate(resolve))

      expect(answers.map(({ seq }) => seq)).to.deep.equal([1, 2, 3])
      expect(thrown.map(String)).to.deep.equal(Array(3).fill('Error: of the page'))
    } finally {
      process.removeAllListeners('unhandledRejection')
      for (const listener of listeners) process.on('unhandledRejection', listener)
    }
  })

  it('lets its keys go when its store cannot be read', async () => {
    const claimed = new Set<string>()
    const kept = memoryStore()
    let isBroken = true
    const store: OutboxStore = {
      save: kept.save,
      load: async (key) => {
        if (isBroken && key.endsWith(' 1')) throw new Error('cannot be read')
        return kept.load(key)
      },
      claim: async (key) => {
        if (claimed.has(key)) return undefined
        claimed.add(key)
        return () => void claimed.delete(key)
      },
    }
    await kept.save(`${KEY} 0`, saved([]))

    const error = await open(new ModelServer(), { store })
      .send(content(1))
      .catch((error) => error)
    isBroken = false

    expect(error).to.include({ code: 'store_failed' })
    expect([...claimed]).to.deep.equal([])
  })
})

describe('the events of an outbox', () => {
  it('are listed from send to the answer, with the producer fields that a tail yields, and listeners are called at changes', async () => {
    const server = new ModelServer()
    let goOn = () => {}
    const gate = new Promise<void>((resolve) => {
      goOn = resolve
    })
    const fetch = async (url: string, init: RequestInit) => {
      await gate
      return server.fetch(url, init)
    }
    const outbox = new Starcite<Events>({ url: 'http://x.test', fetch }).session('s').outbox({ maxBatch: 1 })
    const seen: string[][] = []
    const unsubscribe = outbox.subscribe(() => {
      seen.push(outbox.events.map((event) => `${event.event.payload.n} ${event.state}`))
    })

    const sent = [outbox.send(content(1)), outbox.send(content(2))]
    expect(outbox.events.map(({ event, state }) => [event, state])).to.deep.equal([
      [content(1), 'waiting'],
      [content(2), 'waiting'],
    ])
    expect(outbox.events).to.equal(outbox.events) // the same until something changes
    const keys = outbox.events.map(({ key }) => key)
    while (outbox.events[0]?.state !== 'sending') await new Promise((resolve) => setImmediate(resolve))
    const [first] = outbox.events
    expect(outbox.events.map(({ key }) => key)).to.deep.equal(keys)
    goOn()
    await Promise.all(sent)
    await outbox.close()
    unsubscribe()

    expect(outbox.events).to.deep.equal([])
    expect(first?.producer_seq).to.equal(1)
    expect(server.stored[0]?.producer).to.equal(`${first?.producer_id} 1`)
    expect(seen[0]).to.deep.equal(['1 waiting', '2 waiting'])
    expect(seen).to.deep.include(['1 sending', '2 waiting'])
    expect(seen).to.deep.include(['2 sending'])
    expect(seen.at(-1)).to.deep.equal([])
  })
})
