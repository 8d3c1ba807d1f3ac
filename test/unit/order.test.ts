import { expect } from 'chai'
import { InOrder } from '../../src/lib/inOrder.ts'
import { Semaphore } from '../../src/lib/semaphore.ts'

describe('things in order', () => {
  it('happen in the order of their places, however they become ready', () => {
    const order = new InOrder()
    const happened: number[] = []
    const places = [0, 1, 2, 3].map(() => order.place())

    for (const i of [2, 0, 3]) places[i]?.(() => happened.push(i))
    expect(happened).to.deep.equal([0])
    places[1]?.(() => happened.push(1))

    expect(happened).to.deep.equal([0, 1, 2, 3])
  })

  it('may take places as they happen', () => {
    const order = new InOrder()
    const happened: string[] = []
    order.place()(() => {
      order.place()(() => happened.push('inner'))
      happened.push('outer')
    })

    expect(happened).to.deep.equal(['inner', 'outer'])
  })
})

describe('a semaphore', () => {
  const forEver = new AbortController().signal

  it('gives its permits in the order in which they were asked for, and each once', async () => {
    const semaphore = new Semaphore(2)
    const held = await Promise.all([semaphore.take(forEver), semaphore.take(forEver)])
    const order: string[] = []
    const waiting = ['a', 'b', 'c'].map((name) =>
      semaphore.take(forEver).then((give) => {
        order.push(name)
        return give
      }),
    )

    held[0]?.()
    held[0]?.()
    const first = await waiting[0]
    expect(order).to.deep.equal(['a'])
    first?.()
    held[1]?.()
    await Promise.all(waiting)

    expect(order).to.deep.equal(['a', 'b', 'c'])
  })

  it('drops a caller that no longer wants a turn, and serves the next one', async () => {
    const semaphore = new Semaphore(1)
    const held = await semaphore.take(forEver)
    const leaving = new AbortController()
    const [left, stays] = [semaphore.take(leaving.signal), semaphore.take(forEver)]

    leaving.abort()
    held?.()

    expect(await left).to.equal(undefined)
    expect(await stays).to.be.a('function')
    expect(await semaphore.take(leaving.signal)).to.equal(undefined)
  })
})
