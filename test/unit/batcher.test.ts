import { expect } from 'chai'
import fc from 'fast-check'
import { Batcher, type BatcherOptions, type Outcome, type Weight } from '../../src/lib/batcher.ts'

interface Item {
  readonly name: string
  readonly bytes: number
}

const item = (name: string, bytes = 1): Item => ({ name, bytes })
const answered = (batch: readonly Item[]): Outcome<string>[] =>
  batch.map((it) => ({ ok: true, value: `${it.name}!` }))

/** A batcher whose every batch waits until the test settles it. */
class Bench {
  readonly batches: {
    readonly items: readonly Item[]
    settle(outcomes?: Outcome<string>[]): void
    fail(error: unknown): void
  }[] = []
  readonly batcher: Batcher<Item, string>
  #arrived: (() => void) | undefined

  constructor(bounds: { batch?: Partial<Weight>; waiting?: Partial<Weight> } = {}) {
    const plenty = { count: 1000, bytes: 1000 }
    const options: BatcherOptions<Item, string> = {
      send: (items) =>
        new Promise((resolve, reject) => {
          this.batches.push({
            items,
            settle: (outcomes = answered(items)) => resolve(outcomes),
            fail: reject,
          })
          this.#arrived?.()
        }),
      weigh: ({ bytes }) => ({ count: 1, bytes }),
      maxBatch: { ...plenty, ...bounds.batch },
      maxWaiting: { ...plenty, ...bounds.waiting },
      refuse: (why) => new Error(why),
    }
    this.batcher = new Batcher(options)
  }

  /** The batch of this number, from 0, once it was sent. */
  async batch(number: number) {
    for (;;) {
      const batch = this.batches[number]
      if (batch) return batch
      await new Promise<void>((resolve) => {
        this.#arrived = resolve
      })
    }
  }

  names(): string[][] {
    return this.batches.map(({ items }) => items.map((it) => it.name))
  }
}

const reason = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'fulfilled',
    (error: Error) => error.message,
  )

describe('the batcher', () => {
  it('sends what one turn brought as one batch, and what comes during it as the next', async () => {
    const bench = new Bench()

    const first = [bench.batcher.add(item('a')), bench.batcher.add(item('b'))]
    const batch = await bench.batch(0)
    const second = [bench.batcher.add(item('c')), bench.batcher.add(item('d'))]
    batch.settle()
    expect(await Promise.all(first)).to.deep.equal(['a!', 'b!'])
    ;(await bench.batch(1)).settle()

    expect(await Promise.all(second)).to.deep.equal(['c!', 'd!'])
    expect(bench.names()).to.deep.equal([
      ['a', 'b'],
      ['c', 'd'],
    ])
  })

  it('has one batch under way at a time', async () => {
    const bench = new Bench({ batch: { count: 1 } })

    const all = ['a', 'b', 'c'].map((name) => bench.batcher.add(item(name)))

    for (const number of [0, 1, 2]) {
      const batch = await bench.batch(number)
      expect(bench.batches).to.have.length(number + 1)
      batch.settle()
    }
    await Promise.all(all)
  })

  it('ends a batch at its bytes; an item heavier than that goes alone', async () => {
    const bench = new Bench({ batch: { bytes: 10 } })

    const all = [item('a', 6), item('b', 4), item('c', 1), item('huge', 50), item('d', 1)].map((it) =>
      bench.batcher.add(it),
    )
    for (const number of [0, 1, 2, 3]) (await bench.batch(number)).settle()
    await Promise.all(all)

    expect(bench.names()).to.deep.equal([['a', 'b'], ['c'], ['huge'], ['d']])
  })

  it('refuses past the bound, counting what is under way, and takes more once that is done', async () => {
    const bench = new Bench({ waiting: { count: 2 } })
    const [a, b] = [bench.batcher.add(item('a')), bench.batcher.add(item('b'))]
    const batch = await bench.batch(0)

    expect(await reason(bench.batcher.add(item('c')))).to.equal('full')
    batch.settle()
    await Promise.all([a, b])
    const d = bench.batcher.add(item('d'))
    ;(await bench.batch(1)).settle()

    expect(await d).to.equal('d!')
  })

  it('refuses past the bound of bytes, yet lets a heavy item in when nothing waits', async () => {
    const bench = new Bench({ waiting: { bytes: 10 } })
    const heavy = bench.batcher.add(item('heavy', 100))

    expect(await reason(bench.batcher.add(item('light', 1)))).to.equal('full')
    ;(await bench.batch(0)).settle()

    expect(await heavy).to.equal('heavy!')
  })

  it('gives each item its own outcome', async () => {
    const bench = new Bench()
    const [a, b] = [bench.batcher.add(item('a')), bench.batcher.add(item('b'))]

    ;(await bench.batch(0)).settle([
      { ok: false, error: new Error('poison') },
      { ok: true, value: 'fine' },
    ])

    expect(await reason(a)).to.equal('poison')
    expect(await b).to.equal('fine')
  })

  it('tells every item of a batch that fails, and goes on', async () => {
    const bench = new Bench()
    const lost = [bench.batcher.add(item('a')), bench.batcher.add(item('b'))]
    ;(await bench.batch(0)).fail('broken')
    expect(await Promise.all(lost.map(reason))).to.deep.equal(['broken', 'broken'])

    const next = bench.batcher.add(item('c'))
    ;(await bench.batch(1)).settle()

    expect(await next).to.equal('c!')
  })

  it('leaves nobody waiting when answers are missing', async () => {
    const bench = new Bench()
    const [a, b] = [bench.batcher.add(item('a')), bench.batcher.add(item('b'))]

    ;(await bench.batch(0)).settle([{ ok: true, value: 'fine' }])

    expect(await a).to.equal('fine')
    expect(await reason(b)).to.include('without an answer')
  })

  it('refuses after stop, which waits for what came before (I9)', async () => {
    const bench = new Bench({ batch: { count: 1 } })
    const before = [bench.batcher.add(item('a')), bench.batcher.add(item('b'))]

    const stopped = bench.batcher.stop()
    expect(await reason(bench.batcher.add(item('late')))).to.equal('stopped')
    ;(await bench.batch(0)).settle()
    ;(await bench.batch(1)).fail(new Error('broken'))
    await stopped

    expect(await Promise.all(before.map(reason))).to.deep.equal(['fulfilled', 'broken'])
    await bench.batcher.stop()
  })

  it('stops at once when nothing was ever added', async () => {
    await new Bench().batcher.stop()
  })

  it('loses, repeats and reorders nothing, keeps its bounds, and settles everyone', async () => {
    const weights = fc.record({
      count: fc.integer({ min: 1, max: 8 }),
      bytes: fc.integer({ min: 1, max: 20 }),
    })
    const steps = fc.array(
      fc.oneof(
        { weight: 3, arbitrary: fc.record({ add: fc.integer({ min: 0, max: 12 }) }) },
        { weight: 1, arbitrary: fc.constant('turn' as const) },
      ),
      { maxLength: 60 },
    )
    await fc.assert(
      fc.asyncProperty(
        weights,
        weights,
        steps,
        fc.array(fc.constantFrom('ok', 'mixed', 'throw')),
        async (maxBatch, maxWaiting, plan, ways) => {
          const sent: Item[] = []
          let underWay = 0
          const way = ways.values()
          const batcher = new Batcher<Item, string>({
            send: async (batch) => {
              underWay += 1
              expect(underWay).to.equal(1)
              expect(batch.length).to.be.greaterThan(0)
              if (batch.length > 1) {
                expect(batch.length).to.be.at.most(maxBatch.count)
                expect(batch.reduce((sum, it) => sum + it.bytes, 0)).to.be.at.most(maxBatch.bytes)
              }
              sent.push(...batch)
              await new Promise((resolve) => setImmediate(resolve))
              underWay -= 1
              const how = way.next().value ?? 'ok'
              if (how === 'throw') throw new Error('broken')
              return batch.map((it, i) =>
                how === 'mixed' && i % 2 === 1
                  ? { ok: false, error: new Error('poison') }
                  : { ok: true, value: it.name },
              )
            },
            weigh: ({ bytes }) => ({ count: 1, bytes }),
            maxBatch,
            maxWaiting,
            refuse: (why) => new Error(why),
          })
          const added: { readonly item: Item; readonly result: Promise<string> }[] = []

          for (const step of plan)
            if (step === 'turn') await new Promise((resolve) => setImmediate(resolve))
            else {
              const it = item(String(added.length), step.add)
              added.push({
                item: it,
                result: reason(batcher.add(it).then((value) => expect(value).to.equal(it.name))),
              })
            }
          await batcher.stop()

          const results = await Promise.all(added.map(({ result }) => result))
          const accepted = added.filter((_, i) => results[i] !== 'full').map((it) => it.item)
          expect(sent).to.deep.equal(accepted)
          for (const result of results) expect(result).to.be.oneOf(['fulfilled', 'full', 'poison', 'broken'])
        },
      ),
      { numRuns: 200 },
    )
  })

  it('settles everybody within its patience: what was not sent never is, what was is settled without its outcome', async () => {
    const sent: number[][] = []
    let answer: (() => void) | undefined
    const batcher = new Batcher<number, number>({
      send: async (batch) => {
        sent.push([...batch])
        await new Promise<void>((resolve) => {
          answer = resolve
        })
        return batch.map((value) => ({ ok: true, value }))
      },
      weigh: () => ({ count: 1, bytes: 1 }),
      maxBatch: { count: 2, bytes: 10 },
      maxWaiting: { count: 10, bytes: 10 },
      refuse: (why) => new Error(why),
      patience: { ms: 50, refuse: (wasSent) => new Error(wasSent ? 'unanswered' : 'never sent') },
    })
    const started = performance.now()

    const outcomes = await Promise.allSettled([1, 2, 3, 4, 5].map((it) => batcher.add(it)))
    const waitedMs = performance.now() - started
    const next = batcher.add(6)
    answer?.()
    while (sent.length < 2) await new Promise((resolve) => setImmediate(resolve))
    answer?.()

    expect(outcomes.map((it) => it.status === 'rejected' && it.reason.message)).to.deep.equal([
      'unanswered',
      'unanswered',
      'never sent',
      'never sent',
      'never sent',
    ])
    expect(waitedMs).to.be.within(45, 500)
    expect(await next).to.equal(6)
    expect(sent).to.deep.equal([[1, 2], [6]])
    await batcher.stop()
  })
})
