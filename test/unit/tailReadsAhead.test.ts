import { expect } from 'chai'
import type { Hub } from '../../src/live/hub.ts'
import { Ring, RingBudget } from '../../src/live/ring.ts'
import { Subscription } from '../../src/live/subscription.ts'
import { TailedSession } from '../../src/live/tailedSession.ts'
import { createLog } from '../../src/ops/log.ts'
import type { Metrics } from '../../src/ops/metrics.ts'
import { RenderedEvent } from '../../src/protocol/event.ts'
import type { EventLog } from '../../src/tail/log.ts'
import { Tails } from '../../src/tail/tail.ts'

const PAGE = 2

/** A replay of a session that is long, over a connection that is asked late: at the end of the turn, as pg does. */
function newReplay(options: { onAsked?: (after: number, session: TailedSession) => void; until: number }) {
  const session = Object.assign(new TailedSession('1'), {
    ring: new Ring(100, { events: 0, bytes: 0 }, new RingBudget(0)),
    head: 100,
    epoch: 0,
    known: { seq: 100, at: 0 },
  })
  const order: string[] = []
  const ask = (after: number) =>
    new Promise<readonly RenderedEvent[]>((resolve) =>
      process.nextTick(() => {
        order.push(`asked after ${after}`)
        options.onAsked?.(after, session)
        const seqs = Array.from({ length: PAGE }, (_, i) => after + 1 + i)
        setImmediate(() => resolve(seqs.map((seq) => new RenderedEvent(seq, `{"seq":${seq}}`))))
      }),
    )
  const hub = { register: () => new Subscription(session, () => {}) } as unknown as Hub
  const eventLog = { reader: () => ({ after: ask }) } as unknown as EventLog
  const metrics = { tailLag: () => {}, tailFault: () => {} } as unknown as Metrics
  const tails = new Tails(hub, eventLog, createLog('silent'), metrics)
  const sink = {
    readsAhead: true,
    room: () => Promise.resolve(),
    send: (frames: readonly RenderedEvent[]) =>
      void order.push(`sent ${frames.map(({ seq }) => seq).join(',')}`),
  }
  const signal = new AbortController().signal
  return { order, run: () => tails.run({ sid: '1', cursor: 0, until: options.until, sink, signal }) }
}

describe('a tail that replays', () => {
  it('asks for the next page before the one at hand keeps the thread busy', async () => {
    const { order, run } = newReplay({ until: 4 })

    await run()

    expect(order).to.deep.equal(['asked after 0', 'asked after 2', 'sent 1,2', 'sent 3,4'])
  })

  it('reads a page again when content was removed while it asked for the next one', async () => {
    let removed = false
    const { order, run } = newReplay({
      until: 4,
      onAsked: (after, session) => {
        if (after !== 2 || removed) return
        removed = true
        session.removals += 1
      },
    })

    await run()

    expect(order).to.deep.equal([
      'asked after 0',
      'asked after 2',
      'asked after 0',
      'asked after 2',
      'sent 1,2',
      'sent 3,4',
    ])
  })
})
