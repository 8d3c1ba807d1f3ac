import { setImmediate as turn } from 'node:timers/promises'
import { expect } from 'chai'
import { Loop } from '../../src/lib/loop.ts'
import { loopContract } from '../support/loopContract.ts'
import { until } from '../support/until.ts'

const NEVER_MS = 2 ** 30

loopContract('a loop by itself', {
  open: (probe, intervalMs) =>
    new Loop({
      pass: () => probe.enter(),
      intervalMs,
      onFailure: () => {},
      backoff: { baseMs: 1, maxMs: 2 },
    }),
})

describe('a loop', () => {
  const loops: Loop[] = []
  afterEach(async () => {
    for (const loop of loops.splice(0)) await loop.stop()
  })

  const opened = (options: Partial<ConstructorParameters<typeof Loop>[0]>) => {
    const loop = new Loop({ pass: async () => {}, intervalMs: NEVER_MS, onFailure: () => {}, ...options })
    loops.push(loop)
    return loop
  }

  it('begins its first pass before start returns, when there is nothing to wait for', () => {
    let passes = 0
    const loop = opened({
      firstInMs: 0,
      pass: async () => {
        passes += 1
      },
    })

    loop.start()

    expect(passes).to.equal(1)
  })

  it('rests as long as a pass says', async () => {
    let passes = 0
    const loop = opened({
      firstInMs: 0,
      pass: async () => {
        passes += 1
        return passes < 3 ? 1 : NEVER_MS
      },
    })

    loop.start()

    await until('three passes', () => passes === 3)
  })

  it('does not let a wake cut a back-off, unless it was asked to, and passes at once after it', async () => {
    const failing = (isCutByWake: boolean) => {
      let passes = 0
      const loop = opened({
        firstInMs: 0,
        pass: async () => {
          passes += 1
          if (passes === 1) throw new Error('failed on purpose')
        },
        backoff: { baseMs: NEVER_MS, maxMs: NEVER_MS, isCutByWake },
      })
      loop.start()
      return { loop, passes: () => passes }
    }
    const [patient, hasty] = [failing(false), failing(true)]
    await turn()

    patient.loop.wake()
    hasty.loop.wake()

    await until('the hasty one has passed again', () => hasty.passes() === 2)
    expect(patient.passes()).to.equal(1)
  })

  it('counts failures in a row, from none after a success or a reset', async () => {
    const counted: number[] = []
    const outcomes = ['fail', 'fail', 'succeed', 'fail', 'fail late', 'end']
    const loop = opened({
      firstInMs: 0,
      pass: async () => {
        const outcome = outcomes.shift()
        if (outcome === 'end') return NEVER_MS
        if (outcome === 'fail late') loop.resetBackoff()
        if (outcome !== 'succeed') throw new Error('failed on purpose')
        return 0
      },
      backoff: { baseMs: 1, maxMs: 1 },
      onFailure: (_, failures) => counted.push(failures),
    })

    loop.start()
    await until('all outcomes have come', () => outcomes.length === 0)

    expect(counted).to.deep.equal([1, 2, 1, 1])
  })

  it('waits at its gate after each rest, and not after it is stopped', async () => {
    let open = () => {}
    let passes = 0
    const loop = opened({
      firstInMs: 0,
      gate: (signal) =>
        new Promise((resolve) => {
          open = resolve
          signal.addEventListener('abort', () => resolve())
        }),
      pass: async () => {
        passes += 1
        return 0
      },
    })
    loop.start()
    await turn()
    expect(passes).to.equal(0)

    open()
    await until('it has passed', () => passes === 1)
    await loop.stop()

    expect(passes).to.equal(1)
  })

  it('reports no failure that stopping has caused', async () => {
    let reported = 0
    const loop = opened({
      firstInMs: 0,
      pass: (signal) =>
        new Promise<void>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
      onFailure: () => {
        reported += 1
      },
    })
    loop.start()

    await loop.stop()

    expect(reported).to.equal(0)
  })
})
