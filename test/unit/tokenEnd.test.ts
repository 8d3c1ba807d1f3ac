import { mock } from 'node:test'
import { expect } from 'chai'
import { ANYONE } from '../../src/auth/principal.ts'
import { onTokenEnd } from '../../src/auth/tokenEnd.ts'
import { CLOSE, type Close } from '../../src/protocol/errors.ts'

const DAY_MS = 86_400_000

/** How the token of such a principal ends. */
function ended(more: object, longestTimerMs?: number): Promise<Close> {
  return new Promise((resolve) => onTokenEnd({ ...ANYONE, ...more }, resolve, longestTimerMs))
}

describe('the end of a token', () => {
  it('comes when it expires, by the clock, over as many timers as that takes', async () => {
    const expiresAtMs = Date.now() + 60

    const close = await ended({ expiresAtMs }, 7)

    expect(close).to.equal(CLOSE.expired)
    expect(Date.now()).to.be.at.least(expiresAtMs)
  })

  it('comes at once when it has passed, and when its key is withdrawn, then or before', async () => {
    const key = new AbortController()
    const later = ended({ expiresAtMs: Date.now() + DAY_MS, withdrawn: key.signal })
    key.abort()

    expect(await ended({ expiresAtMs: Date.now() - 1 })).to.equal(CLOSE.expired)
    expect(await later).to.equal(CLOSE.tokenInvalid)
    expect(await ended({ expiresAtMs: null, withdrawn: key.signal })).to.equal(CLOSE.tokenInvalid)
  })

  it('comes soon after the clock was set past it, however long its timer would have run', () => {
    // Timers run by a clock of their own, as they do.
    mock.timers.enable({ apis: ['setTimeout'] })
    let setForwardMs = 0
    const now = Date.now
    const clock = mock.method(Date, 'now', () => now() + setForwardMs)
    try {
      let ends = 0
      onTokenEnd({ ...ANYONE, expiresAtMs: Date.now() + DAY_MS }, () => {
        ends += 1
      })
      mock.timers.tick(5000)
      setForwardMs = 2 * DAY_MS
      expect(ends).to.equal(0)

      mock.timers.tick(10_000)
      expect(ends).to.equal(1)
    } finally {
      mock.timers.reset()
      clock.mock.restore()
    }
  })

  it('does not come early for a token that outlives what setTimeout takes', async () => {
    const key = new AbortController()
    let ends = 0
    const stops = [25 * DAY_MS, 1e15].map((ms) =>
      onTokenEnd({ ...ANYONE, expiresAtMs: Date.now() + ms, withdrawn: key.signal }, () => {
        ends += 1
      }),
    )

    // A timer that overflowed would be due before this one.
    await ended({ expiresAtMs: Date.now() + 5 })
    expect(ends).to.equal(0)

    for (const stop of stops) stop()
    key.abort()
    await ended({ expiresAtMs: Date.now() })
    expect(ends, 'after stopping').to.equal(0)
  })
})
