import { expect } from 'chai'
import { MemoryBudget } from '../../src/lib/memoryBudget.ts'
import { UnreadBudget } from '../../src/lib/unreadBudget.ts'

describe('a budget of memory', () => {
  it('lets in what fits, gives no holder more than half, and takes back what is closed', () => {
    const budget = new MemoryBudget(100)
    const [a, a2, b, c] = ['a', 'a', 'b', 'c'].map((holder) => budget.open(holder))

    expect([a?.resize(40), a2?.resize(11), a2?.resize(10)]).to.deep.equal([true, false, true])
    expect([b?.resize(50), c?.resize(1), budget.usedBytes]).to.deep.equal([true, false, 100])
    a?.close()
    expect([c?.resize(40), c?.resize(41), budget.usedBytes]).to.deep.equal([true, false, 60])
    a2?.close()
    b?.close()
    expect(budget.usedBytes).to.equal(0)
  })

  it('leaves something to the next, however many take all that they can', () => {
    const budget = new MemoryBudget(1024)
    for (const holder of ['a', 'b', 'c', 'd'])
      for (let bytes = 1; budget.open(holder).resize(bytes); bytes = 1);

    expect(budget.usedBytes).to.equal(512 + 256 + 128 + 64)
    expect([budget.open('e').resize(32), budget.open('a').resize(1)]).to.deep.equal([true, false])
  })

  it('lets in what is alone, however large', () => {
    const budget = new MemoryBudget(100)
    const [large, other] = [budget.open('a'), budget.open('b')]

    expect([large.resize(1000), other.resize(1)]).to.deep.equal([true, false])
    large.close()
    expect([other.resize(30), budget.open('a').resize(60)]).to.deep.equal([true, true])
  })
})

describe('a budget of what readers have not taken', () => {
  it('cuts who has been waited for longest, of the holder who has most', () => {
    const budget = new UnreadBudget(100)
    const cut: string[] = []
    const add = (holder: string, bytes: number, name: string) =>
      budget.add(holder, bytes, () => cut.push(name))
    const done = add('a', 30, 'a1')
    add('b', 20, 'b1')
    add('a', 30, 'a2')
    expect(cut).to.deep.equal([])

    add('c', 30, 'c1')
    expect([cut, budget.usedBytes]).to.deep.equal([['a1'], 80])
    done() // cut already
    expect(budget.usedBytes).to.equal(80)
    add('d', 500, 'd1')
    expect([cut, budget.usedBytes]).to.deep.equal([['a1', 'd1'], 80])
  })
})
