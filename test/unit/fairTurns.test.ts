import { expect } from 'chai'
import { FairTurns } from '../../src/lib/fairTurns.ts'

const forever = new AbortController().signal

describe('fair turns', () => {
  /** Asks for a turn for each name, and answers the order in which they had it; each turn ends in the next tick. */
  async function order(turns: FairTurns, names: readonly string[]): Promise<string[]> {
    const had: string[] = []
    await Promise.all(
      names.map(async (name) => {
        const end = await turns.take(name[0], forever)
        had.push(name)
        await new Promise(setImmediate)
        end?.()
      }),
    )
    return had
  }

  it('go around among those who wait, and in order for each', async () => {
    expect(await order(new FairTurns(1), ['a1', 'a2', 'a3', 'b1', 'c1', 'c2'])).to.deep.equal([
      'a1',
      'a2',
      'b1',
      'c1',
      'a3',
      'c2',
    ])
  })

  it('are so many at a time', async () => {
    const turns = new FairTurns(2)
    const ends = [await turns.take('a', forever), await turns.take('a', forever)]
    let hasThird = false
    const third = turns.take('b', forever).then((end) => {
      hasThird = true
      return end
    })

    await new Promise(setImmediate)
    expect(hasThird).to.equal(false)
    ends[0]?.()
    ends[0]?.() // a second time ends nothing
    const end = await third
    end?.()
    ends[1]?.()
    expect((await order(turns, ['a1', 'a2'])).length).to.equal(2)
  })

  it('are not given to who no longer wants one, nor lost with them', async () => {
    const turns = new FairTurns(1)
    const held = await turns.take('a', forever)
    const leaving = new AbortController()
    const gone = Array.from({ length: 10 }, () => turns.take('b', leaving.signal))
    const patient = turns.take('c', forever)

    leaving.abort()
    expect(await Promise.all(gone)).to.deep.equal(gone.map(() => undefined))
    held?.()

    expect(await patient).to.be.a('function')
    expect(await turns.take('b', leaving.signal)).to.equal(undefined)
  })
})
