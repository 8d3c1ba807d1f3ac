import { getEventListeners } from 'node:events'
import { expect } from 'chai'
import fc from 'fast-check'
import { jittered, pause } from '../../src/lib/backoff.ts'

const FOREVER_MS = 2 ** 30

describe('a pause', () => {
  it('ends early and permanently when its signal is aborted', async () => {
    const stopping = new AbortController()
    const paused = pause(FOREVER_MS, stopping.signal)

    stopping.abort()

    await paused
  })

  it('does not begin when its signal is aborted already', async () => {
    await pause(FOREVER_MS, AbortSignal.abort())
  })

  it('ends by itself, and leaves nothing behind on its signal', async () => {
    const { signal } = new AbortController()

    await pause(1, signal)

    expect(getEventListeners(signal, 'abort')).to.have.length(0)
  })
})

describe('the time before another try', () => {
  it('lies between nothing and the doubled bound, and never past the maximum', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 5000 }),
        fc.integer({ min: 1, max: 1000 }),
        fc.integer({ min: 1, max: 60_000 }),
        (attempt, baseMs, maxMs) => {
          const ms = jittered(attempt, baseMs, maxMs)

          expect(ms).to.be.at.least(0)
          expect(ms).to.be.at.most(Math.min(maxMs, baseMs * 2 ** attempt))
        },
      ),
    )
  })
})
