import { expect } from 'chai'
import fc from 'fast-check'
import { Batcher, type BatcherOptions, type Outcome, type Weight } from '../../src/lib/batcher.ts'

interface Item {
  readonly name: string
  readonly bytes: number
  readonly key: string
}

/** Of a key of its own, unless it is said. */
const item = (name: string, bytes = 1, key = name): Item => ({ name, bytes, key })
const answered = (batch: readonly Item[]): Outcome<string>[] =>
  batch.map((item) => ({ ok: true, value: `${item.name}!` }))

/** A batcher whose every batch waits until the test settles it. */
class Bench {
  readonly batches: {
    readonly items: readonly Item[]
    settle(outcomes?: Outcome<string>[]): void
    fail(error: unknown): void
  }[] = []
  readonly batcher: Batcher<Item, string>
  #arrived: (() => void) | undefined

  constructor(
    bounds: { batch?: Partial<Weight>; waiting?: Partial<Weight>; underWay?: number; stuckMs?: number } = {},
  ) {
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
      keyOf: ({ key }) => key,
      weigh: ({ bytes }) => ({ count: 1, bytes }),
      maxBatch: { ...plenty, ...bounds.batch },
      maxWaiting: { ...plenty, ...bounds.waiting },
      maxUnderWay: bounds.underWay ?? 1,
      stuckMs: bounds.stuckMs ?? 60_000,
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
    return this.batches.map(({ items }) => items.map((item) => item.name))
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

  it('has another under way when a full batch waits, and not before', async () => {
    const bench = new Bench({ batch: { count: 2 }, underWay: 2 })
    const all = [bench.batcher.add(item('a'))]
    const first = await bench.batch(0)

    all.push(bench.batcher.add(item('b')))
    await new Promise((resolve) => setImmediate(resolve))
    const beforeFull = bench.names()
    all.push(bench.batcher.add(item('c')))
    const second = await bench.batch(1)
    second.settle()
    first.settle()
    await Promise.all(all)

    expect(beforeFull).to.deep.equal([['a']])
    expect(bench.names()).to.deep.equal([['a'], ['b', 'c']])
  })

  it('has another under way when the first is stuck, however little waits', async () => {
    const bench = new Bench({ underWay: 2, stuckMs: 20 })
    const started = performance.now()
    const stuck = bench.batcher.add(item('a'))
    const first = await bench.batch(0)

    const next = bench.batcher.add(item('b'))
    ;(await bench.batch(1)).settle()
    const waitedMs = performance.now() - started
    expect(await next).to.equal('b!')
    first.settle()

    expect(await stuck).to.equal('a!')
    expect(waitedMs).to.be.at.least(19)
  })

  it('never has a key in two batches under way: what comes of it waits, in order', async () => {
    const bench = new Bench({ batch: { count: 2 }, underWay: 2 })
    const all = [bench.batcher.add(item('a1', 1, 'a'))]
    const first = await bench.batch(0)

    for (const next of [item('a2', 1, 'a'), item('a3', 1, 'a'), item('b'), item('c')])
      all.push(bench.batcher.add(next))
    ;(await bench.batch(1)).settle()
    first.settle()
    ;(await bench.batch(2)).settle()
    await Promise.all(all)

    expect(bench.names()).to.deep.equal([['a1'], ['b', 'c'], ['a2', 'a3']])
  })

  it('ends a batch at its bytes; an item heavier than that goes alone', async () => {
    const bench = new Bench({ batch: { bytes: 10 } })

    const all = [item('a', 6), item('b', 4), item('c', 1), item('huge', 50), item('d', 1)].map((each) =>
      bench.batcher.add(each),
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

  it('rejects items whose answers are missing', async () => {
    const bench = new Bench()
    const [a, b] = [bench.batcher.add(item('a')), bench.batcher.add(item('b'))]

    ;(await bench.batch(0)).settle([{ ok: true, value: 'fine' }])

    expect(await a).to.equal('fine')
    expect(await reason(b)).to.include('without an answer')
  })

  it('refuses after stop, which waits for what came before (I9)', async () => {
    const bench = new Bench({ batch: { count: 1 } })
    const before = [bench.batcher.add(item('a')), bench.batcher.add(item('b'))].map(reason)

    const stopped = bench.batcher.stop()
    expect(await reason(bench.batcher.add(item('late')))).to.equal('stopped')
    ;(await bench.batch(0)).settle()
    ;(await bench.batch(1)).fail(new Error('broken'))
    await stopped

    expect(await Promise.all(before)).to.deep.equal(['fulfilled', 'broken'])
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
        {
          weight: 3,
          arbitrary: fc.record({
            add: fc.integer({ min: 0, max: 12 }),
            key: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
          }),
        },
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
        fc.integer({ min: 1, max: 3 }),
        async (maxBatch, maxWaiting, plan, ways, maxUnderWay) => {
          const sent: Item[] = []
          const keysUnderWay: string[] = []
          let underWay = 0
          const way = ways.values()
          const batcher = new Batcher<Item, string>({
            send: async (batch) => {
              underWay += 1
              expect(underWay).to.be.at.most(maxUnderWay)
              expect(batch.length).to.be.greaterThan(0)
              const keys = [...new Set(batch.map(({ key }) => key))]
              expect(keysUnderWay.filter((key) => keys.includes(key))).to.deep.equal([])
              keysUnderWay.push(...keys)
              if (batch.length > 1) {
                expect(batch.length).to.be.at.most(maxBatch.count)
                expect(batch.reduce((sum, item) => sum + item.bytes, 0)).to.be.at.most(maxBatch.bytes)
              }
              sent.push(...batch)
              for (let turns = batch.length % 3; turns >= 0; turns -= 1)
                await new Promise((resolve) => setImmediate(resolve))
              underWay -= 1
              for (const key of keys) keysUnderWay.splice(keysUnderWay.indexOf(key), 1)
              const how = way.next().value ?? 'ok'
              if (how === 'throw') throw new Error('broken')
              return batch.map((item, i) =>
                how === 'mixed' && i % 2 === 1
                  ? { ok: false, error: new Error('poison') }
                  : { ok: true, value: item.name },
              )
            },
            keyOf: ({ key }) => key,
            weigh: ({ bytes }) => ({ count: 1, bytes }),
            maxBatch,
            maxWaiting,
            maxUnderWay,
            stuckMs: 60_000,
            refuse: (why) => new Error(why),
          })
          const added: { readonly item: Item; readonly result: Promise<string> }[] = []

          for (const step of plan)
            if (step === 'turn') await new Promise((resolve) => setImmediate(resolve))
            else {
              const entry = item(String(added.length), step.add, step.key)
              added.push({
                item: entry,
                result: reason(batcher.add(entry).then((value) => expect(value).to.equal(entry.name))),
              })
            }
          await batcher.stop()

          const results = await Promise.all(added.map(({ result }) => result))
          const accepted = added.filter((_, i) => results[i] !== 'full').map((entry) => entry.item)
          const ofKey = (items: readonly Item[], key: string) => items.filter((item) => item.key === key)
          expect(sent).to.have.members(accepted)
          for (const key of 'abcde') expect(ofKey(sent, key)).to.deep.equal(ofKey(accepted, key))
          for (const result of results) expect(result).to.be.oneOf(['fulfilled', 'full', 'poison', 'broken'])
        },
      ),
      { numRuns: 200 },
    )
  })

  it('rejects every item at its deadline: unsent items are withdrawn, sent ones lose their outcome', async () => {
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
      keyOf: String,
      weigh: () => ({ count: 1, bytes: 1 }),
      maxBatch: { count: 2, bytes: 10 },
      maxWaiting: { count: 10, bytes: 10 },
      maxUnderWay: 1,
      stuckMs: 60_000,
      refuse: (why) => new Error(why),
      deadline: { ms: 50, refuse: (wasSent) => new Error(wasSent ? 'unanswered' : 'never sent') },
    })
    const started = performance.now()

    const outcomes = await Promise.allSettled([1, 2, 3, 4, 5].map((n) => batcher.add(n)))
    const waitedMs = performance.now() - started
    const next = batcher.add(6)
    answer?.()
    while (sent.length < 2) await new Promise((resolve) => setImmediate(resolve))
    answer?.()

    expect(outcomes.map((outcome) => outcome.status === 'rejected' && outcome.reason.message)).to.deep.equal([
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
