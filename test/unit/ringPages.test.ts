import { expect } from 'chai'
import { Ring, RingBudget } from '../../src/live/ring.ts'
import { Subscription } from '../../src/live/subscription.ts'
import { TailedSession } from '../../src/live/tailedSession.ts'
import { Metrics } from '../../src/ops/metrics.ts'
import { RenderedEvent } from '../../src/protocol/event.ts'
import { EventLog } from '../../src/tail/log.ts'

const KB = 1024

describe('a page of a tail that comes from memory', () => {
  /** The seqs of the pages that a reader gets of a ring with so many events of so many bytes. */
  async function pagesOf(events: number, bytes: number): Promise<number[][]> {
    const ring = new Ring(0, { events: 1000, bytes: 1024 ** 3 }, new RingBudget(1024 ** 3))
    ring.push(Array.from({ length: events }, (_, i) => new RenderedEvent(i + 1, 'x'.repeat(bytes))))
    const subscription = new Subscription(Object.assign(new TailedSession('1'), { ring }), () => {})
    const never = undefined as never
    const reader = new EventLog(never, never, new Metrics(), never).reader(subscription)
    const pages: number[][] = []
    for (let cursor = 0; ; ) {
      const page = (await reader.after(cursor)).map(({ seq }) => seq)
      if (page.length === 0) return pages
      pages.push(page)
      cursor = page.at(-1) as number
    }
  }

  it('ends at 256 KiB, with the event that reaches them, as one that is read from Postgres', async () => {
    expect(await pagesOf(5, 200 * KB)).to.deep.equal([[1, 2], [3, 4], [5]])
    expect(await pagesOf(2, 1024 * KB)).to.deep.equal([[1], [2]])
    expect((await pagesOf(600, 100)).map((page) => page.length)).to.deep.equal([600])
  })
})
