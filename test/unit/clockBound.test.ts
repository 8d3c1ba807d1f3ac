import { expect } from 'chai'
import { ClockBound } from '../../src/lib/clockBound.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

describe('the bound of another clock', () => {
  const START = Date.UTC(2026, 10, 30)
  let passed: number
  let wallAhead: number
  let clock: ClockBound

  beforeEach(() => {
    passed = 0
    wallAhead = 0
    clock = new ClockBound({ monotonic: () => passed, wall: () => START + passed + wallAhead })
  })

  /** What a clock answers that is ahead of the time by so much. */
  const read = (ahead: number) => clock.read(START + passed + ahead)

  it('has none before the first reading', () => {
    expect(clock.latest).to.equal(undefined)
    expect(read(-300 * DAY)).to.equal('accepted')
    expect(clock.latest).to.be.above(START)
  })

  it('accepts a clock that goes on, goes back, or is a little ahead', () => {
    for (const [after, ahead] of [
      [0, 0],
      [DAY, 0],
      [MINUTE, 5 * MINUTE],
      [MINUTE, -30 * DAY],
      [MINUTE, 0],
    ] as const) {
      passed += after
      expect(read(ahead), `${after} ${ahead}`).to.equal('accepted')
    }
  })

  it('does not accept a clock that jumps ahead until it has held for a minute', () => {
    read(0)
    passed += HOUR
    expect(read(1200 * DAY)).to.equal('ahead')
    expect(clock.latest).to.be.below(START + passed + DAY)
    passed += 10_000
    expect(read(1200 * DAY)).to.equal('ahead')
    passed += 1000
    expect(read(0), 'back').to.equal('accepted')

    passed += 1000
    expect(read(1200 * DAY)).to.equal('ahead')
    passed += 50_000
    expect(read(2400 * DAY), 'which jumps again').to.equal('ahead')
    passed += 50_000
    expect(read(2400 * DAY)).to.equal('ahead')
    passed += 10_000
    expect(read(2400 * DAY)).to.equal('accepted')
    expect(clock.latest).to.be.above(START + 2400 * DAY)
  })

  it('accepts a time that the clock of this machine has too: both were set, or both slept', () => {
    read(0)
    passed += HOUR
    wallAhead = 3 * DAY

    expect(read(3 * DAY)).to.equal('accepted')
  })
})
