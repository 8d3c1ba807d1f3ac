import { getEventListeners } from 'node:events'
import { expect } from 'chai'
import { Subscription } from '../../src/live/subscription.ts'
import { TailedSession } from '../../src/live/tailedSession.ts'
import { TailEnd } from '../../src/tail/end.ts'

/** A tail of a session that nothing has happened to. */
function newTail() {
  const session = new TailedSession('1')
  session.known = { seq: 100, at: 0 }
  const caller = new AbortController()
  const end = new TailEnd(new Subscription(session, () => {}), caller.signal)
  const erase = () => {
    session.endReason = 'session_erased'
    session.wake()
  }
  const held = () => session.waiters.size + getEventListeners(caller.signal, 'abort').length
  return { end, abort: () => caller.abort(), erase, held }
}

describe('the end of a tail', () => {
  for (const [what, cause] of [
    ['its caller has enough', 'abort'],
    ['its session is erased', 'erase'],
  ] as const) {
    it(`is reached when ${what}, and cuts what waits then`, () => {
      const tail = newTail()
      const waiting = tail.end.signal()
      expect([tail.end.isReached, waiting.aborted]).to.deep.equal([false, false])

      tail[cause]()

      expect([tail.end.isReached, waiting.aborted]).to.deep.equal([true, true])
    })

    it(`is known to what begins to wait after ${what}`, () => {
      const tail = newTail()

      tail[cause]()

      expect(tail.end.signal().aborted).to.equal(true)
    })
  }

  it('costs nothing until something waits, nor afterwards', () => {
    const { end, held } = newTail()
    const before = held()

    const first = end.signal()
    const during = held()
    const same = end.signal() === first
    end.release()

    expect([before, during, same, held()]).to.deep.equal([0, 2, true, 0])
  })
})
