import { expect } from 'chai'
import { WebSocket } from 'ws'
import type { StarciteError } from '../../src/client/errors.ts'
import { memoryStore, type OutboxStore } from '../../src/client/outbox/store.ts'
import { Starcite } from '../../src/client/starcite.ts'
import { ResponseDropper } from '../support/responseDropper.ts'
import { until } from '../support/until.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

type Events = { content: { n: number; text?: string } }

const content = (n: number) => ({ type: 'content' as const, payload: { n } })
const count = (n: number) => Array.from({ length: n }, (_, i) => i + 1)

describe("the client's outbox", () => {
  const database = useDatabase()
  const node = useNode(database)
  let direct: Starcite<Events>
  let made = 0

  before(async () => {
    direct = new Starcite({ url: node.url, WebSocket })
  })

  async function newSession(): Promise<string> {
    made += 1
    return (await direct.createSession({ id: `outbox ${made}` })).id
  }

  async function stored(id: string): Promise<number[]> {
    const numbers: number[] = []
    for await (const { payload } of direct.session(id).history()) numbers.push(payload.n ?? 0)
    return numbers
  }

  const rejection = (promise: Promise<unknown>): Promise<StarciteError> =>
    promise.then(
      () => expect.fail('it was not refused'),
      (error) => error,
    )

  it('stores every event once, in order, through a proxy that drops every third response', async () => {
    const id = await newSession()
    const proxy = await ResponseDropper.start(node.url, (nth) => nth % 3 === 0)
    const outbox = new Starcite<Events>({ url: proxy.url }).session(id).outbox({ maxBatch: 15 })

    const answers = await Promise.all(count(300).map((n) => outbox.send(content(n))))
    await outbox.close()
    await proxy.stop()

    expect(await stored(id)).to.deep.equal(count(300))
    expect(answers.map((answer) => answer.seq)).to.deep.equal(count(300))
    const lost = proxy.posts.filter((post) => !post.answered)
    expect(lost.length).to.be.at.least(9)
    for (const { body } of lost) // what was sent again is the identical body
      expect(proxy.posts.filter((post) => post.body === body).length).to.be.greaterThan(1)
    expect(answers.some((answer) => answer.deduped)).to.equal(true)
  })

  it('goes on when the answer to its very first request is lost', async () => {
    const id = await newSession()
    const proxy = await ResponseDropper.start(node.url, (nth) => nth === 1)
    const outbox = new Starcite<Events>({ url: proxy.url }).session(id).outbox({ producerId: 'my device' })

    try {
      const first = await outbox.send(content(1))
      const second = await outbox.send(content(2))
      expect([first, second].map((answer) => [answer.seq, answer.deduped])).to.deep.equal([
        [1, true],
        [2, false],
      ])
      await outbox.close()
    } finally {
      await proxy.stop()
    }

    expect(await stored(id)).to.deep.equal([1, 2])
  })

  it('takes a duplicate for its own where fetch repeats requests by itself', async () => {
    const id = await newSession()
    const twice: typeof fetch = async (url, init) => {
      await fetch(url, init)
      return fetch(url, init)
    }
    const outbox = new Starcite<Events>({ url: node.url, fetch: twice }).session(id).outbox()

    const answers = await Promise.all(count(3).map((n) => outbox.send(content(n))))
    await outbox.close()

    expect(answers.map((answer) => [answer.seq, answer.deduped])).to.deep.equal(
      count(3).map((n) => [n, true]),
    )
  })

  it('sends on after a reload what was not acknowledged, from its store, before what is new', async () => {
    const id = await newSession()
    const store = memoryStore()
    const deaf = await ResponseDropper.start(node.url, () => true)
    const before = new Starcite<Events>({ url: deaf.url }).session(id).outbox({ store, maxBatch: 5 })
    const sent = Promise.allSettled(count(20).map((n) => before.send(content(n))))
    await until('a batch was stored', async () => (await stored(id)).length === 5)
    await before.stop()
    expect((await sent).every((result) => result.status === 'rejected')).to.equal(true)

    // To a store the same session at another address is another outbox, so the address stays.
    const repaired = new Starcite<Events>({ url: deaf.url, fetch: redirect(deaf.url, node.url) })
    await deaf.stop()
    const recovered: number[] = []
    const after = repaired.session(id).outbox({
      store,
      maxBatch: 7,
      onSent: (_, event) => recovered.push(JSON.parse(event).payload.n),
    })
    await after.send(content(21))
    await after.close()

    expect(await stored(id)).to.deep.equal(count(21))
    expect(recovered).to.deep.equal(count(21))
  })

  it('tells one caller that the event was refused, and the others go through with their numbers', async () => {
    const id = await newSession()
    const outbox = direct.session(id).outbox()
    const bad = { type: 'content' as const, payload: { n: 0 }, refs: { step: -1 } }
    const refused: string[] = []

    const sent = [content(1), content(2), bad, content(3), bad, content(4)].map((event) =>
      outbox.send(event).catch((error: StarciteError) => refused.push(error.code)),
    )
    await Promise.all(sent)
    await outbox.close()

    expect(refused).to.deep.equal(['invalid_refs', 'invalid_refs'])
    expect(await stored(id)).to.deep.equal(count(4))
    const events = []
    for await (const event of direct.session(id).history()) events.push(event.producer_seq)
    expect(events).to.deep.equal(count(4))
  })

  it('refuses an event that is larger than the server takes, and goes on with its neighbours', async () => {
    const id = await newSession()
    const outbox = direct.session(id).outbox()
    const large = { type: 'content' as const, payload: { n: 2, text: 'x'.repeat(9_000_000) } }

    const [, second] = await Promise.allSettled(
      [content(1), large, content(3)].map((event) => outbox.send(event)),
    )
    await outbox.close()

    expect(second).to.have.nested.property('reason.code', 'body_too_large')
    expect(await stored(id)).to.deep.equal([1, 3])
  })

  it('ends over a session that is not there, with the error for everyone, and keeps what was not sent', async () => {
    const store = memoryStore()
    const outbox = direct.session('nowhere').outbox({ store })

    const errors = await Promise.all([content(1), content(2)].map((event) => rejection(outbox.send(event))))

    expect(errors.map((error) => error.code)).to.deep.equal(['session_not_found', 'session_not_found'])
    expect((await rejection(outbox.close())).code).to.equal('session_not_found')
    expect((await rejection(outbox.send(content(3)))).code).to.equal('outbox_closed')
    await direct.createSession({ id: 'nowhere' })
    const next = direct.session('nowhere').outbox({ store })
    await next.close()
    expect(await stored('nowhere')).to.deep.equal([1, 2])
  })

  it('fails clearly when its store was lost under a producer id of its own', async () => {
    const id = await newSession()
    const options = () => ({ producerId: 'my device', store: memoryStore() })
    const first = direct.session(id).outbox(options())
    await first.send(content(1))
    await first.send(content(2))
    await first.close()

    const other = await rejection(direct.session(id).outbox(options()).send(content(3)))
    const same = await rejection(direct.session(id).outbox(options()).send(content(1)))

    expect(other).to.include({ code: 'producer_replay_conflict', retryable: false })
    expect(same).to.include({ code: 'producer_state_lost' })
    expect(await stored(id)).to.deep.equal([1, 2])
  })

  it('says which number the server expects when the store is behind', async () => {
    const id = await newSession()
    const store = memoryStore()
    const first = direct.session(id).outbox({ producerId: 'p', store })
    await first.send(content(1))
    await first.close()
    const [key] = [`starcite.outbox ${node.url}/v1/sessions/${encodeURIComponent(id)} p`]
    const saved = JSON.parse((await store.load(key)) ?? '{}')
    expect(saved).to.deep.equal({ producer_id: 'p', next: 2, pending: [] })
    await store.save(key, JSON.stringify({ ...saved, next: 7 }))

    const error = await rejection(direct.session(id).outbox({ producerId: 'p', store }).send(content(2)))

    expect(error).to.include({ code: 'producer_seq_conflict', status: 409 })
    expect(error.details).to.include({ expected_producer_seq: 2 })
  })

  it('takes no more than its bound, and not what carries producer fields already', async () => {
    const id = await newSession()
    const outbox = direct.session(id).outbox({ maxPending: 3 })

    const sent = count(5).map((n) => outbox.send(content(n)))

    expect((await rejection(sent[3] as Promise<unknown>)).code).to.equal('outbox_full')
    expect((await rejection(sent[4] as Promise<unknown>)).code).to.equal('outbox_full')
    await Promise.all(sent.slice(0, 3))
    const numbered = { ...content(6), producer_id: 'p', producer_seq: 1 }
    expect((await rejection(outbox.send(numbered))).code).to.equal('invalid_event')
    await outbox.close()
    expect(await stored(id)).to.deep.equal(count(3))
  })

  it('gives each of two outboxes on one store its own producer, and the next one finds what both have left', async () => {
    const id = await newSession()
    const store = claimingStore()
    let isDown = false
    const fetch = (url: string, init: RequestInit) =>
      isDown ? Promise.reject(new Error('the cable is out')) : globalThis.fetch(url, init)
    const client = new Starcite<Events>({ url: node.url, fetch })
    const two = [client.session(id).outbox({ store }), client.session(id).outbox({ store })] as const
    await Promise.all([two[0].send(content(1)), two[1].send(content(2))])
    isDown = true
    const lost = Promise.allSettled([two[0].send(content(3)), two[1].send(content(4))])
    await Promise.all(two.map((reading) => reading.stop()))
    await lost
    isDown = false

    const third = client.session(id).outbox({ store })
    await third.send(content(5))
    await third.close()

    const producers = new Map<number, string | undefined>()
    for await (const event of client.session(id).history())
      producers.set(event.payload.n ?? 0, event.producer_id)
    expect([...producers.keys()].sort()).to.deep.equal([1, 2, 3, 4, 5])
    expect(producers.get(1)).not.to.equal(producers.get(2))
    expect([producers.get(3), producers.get(4)]).to.deep.equal([producers.get(1), producers.get(2)])
  })

  it('waits as long as the server asks, then sends the same again, for every status that means "later"', async () => {
    const statuses = [408, 425, 429, 500, 502, 503, 504]

    const outcomes = await Promise.all(
      statuses.map(async (status) => {
        const id = await newSession()
        const bodies: unknown[] = []
        const waits: number[] = []
        const fetch = (url: string, init: RequestInit) => {
          bodies.push(init.body)
          return bodies.length === 1
            ? Promise.resolve(new Response('{"retry_after_ms":20}', { status }))
            : globalThis.fetch(url, init)
        }
        const outbox = new Starcite<Events>({ url: node.url, fetch })
          .session(id)
          .outbox({ onRetry: (error, ms) => waits.push(error.status === status ? ms : 0) })
        await outbox.send(content(1))
        await outbox.close()
        return { stored: await stored(id), again: bodies[0] === bodies[1], waited: (waits[0] ?? 0) >= 20 }
      }),
    )

    for (const outcome of outcomes) expect(outcome).to.deep.equal({ stored: [1], again: true, waited: true })
  })
})

/** A fetch that goes elsewhere than the URL says. */
function redirect(from: string, to: string) {
  return (url: string, init: RequestInit) => fetch(url.replace(from, to), init)
}

/** A store for several outboxes at a time, as those of tabs are. */
function claimingStore(): OutboxStore {
  const claimed = new Set<string>()
  return {
    ...memoryStore(),
    claim: async (key) => {
      if (claimed.has(key)) return undefined
      claimed.add(key)
      return () => void claimed.delete(key)
    },
  }
}
