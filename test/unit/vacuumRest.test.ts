import { expect } from 'chai'
import { VacuumRest } from '../../src/tiering/erase/vacuumRest.ts'

describe('the rest between vacuums of erasers', () => {
  it('is nine times as long as the last one took, whether or not it failed', async () => {
    let now = 1000
    const rest = new VacuumRest(() => now)
    for (const [took, fails] of [
      [10, false],
      [500, true],
    ] as const) {
      expect(rest.isOver).to.equal(true)
      await rest
        .after(async () => {
          now += took
          if (fails) throw new Error('cut')
        })
        .catch(() => {})
      now += 9 * took - 1
      expect(rest.isOver).to.equal(false)
      now += 1
    }
    expect(rest.isOver).to.equal(true)
  })
})
