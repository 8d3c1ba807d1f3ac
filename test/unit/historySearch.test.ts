import { expect } from 'chai'
import { endOfTurn } from '../../src/lib/endOfTurn.ts'
import type { RenderedEvent, Seq } from '../../src/protocol/event.ts'
import { History, type HistoryRequest } from '../../src/tail/history.ts'

const SLICE = 1000
const EVENTS = 100_000

/** A session whose events are all cold, in slices, and how many slices were read. */
class ColdSession {
  slicesRead = 0
  readonly #bytes: number
  readonly #onRead: () => void

  constructor(bytes = 0, onRead: () => void = () => {}) {
    this.#bytes = bytes
    this.#onRead = onRead
  }

  async coldUntil(): Promise<Seq> {
    return EVENTS
  }

  async sliceAt(_sid: string, seq: Seq): Promise<readonly RenderedEvent[]> {
    this.slicesRead += 1
    this.#onRead()
    await endOfTurn()
    const first = Math.floor((seq - 1) / SLICE) * SLICE + 1
    const text = (seq: Seq) =>
      `{"seq":${seq},"type":"a","payload":{"x":"${'x'.repeat(this.#bytes)}"},"actor":"b"}`
    return Array.from(
      { length: SLICE },
      (_, i) => ({ seq: first + i, text: text(first + i) }) as RenderedEvent,
    )
  }

  prefetch(): void {}

  page(request: Partial<HistoryRequest>) {
    const hub = { register: () => ({ close: () => {}, ready: async () => {}, changed: async () => {} }) }
    const history = new History(undefined as never, this, hub as never, undefined as never)
    return history.page({
      sid: '1',
      lastSeq: EVENTS,
      cursor: undefined,
      limit: 100,
      order: 'asc',
      type: null,
      actor: null,
      waitMs: 0,
      signal: new AbortController().signal,
      ...request,
    })
  }
}

describe('a search through history', () => {
  for (const request of [{ waitMs: 60_000 }, { waitMs: 0 }, { order: 'desc' as const }])
    it(`looks at 20,000 events and no more, and says where to go on: ${JSON.stringify(request)}`, async () => {
      const session = new ColdSession()

      const { events, nextCursor } = await session.page({ type: 'nope', ...request })

      expect(events).to.deep.equal([])
      expect(session.slicesRead).to.equal(20)
      expect(nextCursor).to.equal(request.order === 'desc' ? EVENTS - 20_000 + 1 : 20_000)
    })

  it('reads so many bytes and no more', async () => {
    const session = new ColdSession(10_000)

    const { nextCursor } = await session.page({ actor: 'nope' })

    expect(session.slicesRead).to.equal(4)
    expect(nextCursor).to.equal(4 * SLICE)
  })

  for (const waitMs of [0, 60_000])
    it(`stops when its signal is aborted, and returns how far it came (wait of ${waitMs} ms)`, async () => {
      const leaving = new AbortController()
      const session = new ColdSession(0, () => leaving.abort())

      const { events, nextCursor } = await session.page({ type: 'nope', waitMs, signal: leaving.signal })

      expect(events).to.deep.equal([])
      expect(session.slicesRead).to.equal(1)
      expect(nextCursor).to.equal(SLICE)
    })

  it('stops at its deadline', async () => {
    const session = new ColdSession(0, () => {
      const until = performance.now() + 5
      while (performance.now() < until);
    })
    const { nextCursor } = await session.page({ type: 'nope', waitMs: 1 })

    expect(nextCursor).to.equal(session.slicesRead * SLICE)
    expect(session.slicesRead).to.be.below(20)
  })

  it('finds what matches, by type and by actor', async () => {
    const { events } = await new ColdSession().page({ type: 'a', actor: 'b', limit: 3 })

    expect(events.map(({ seq }) => seq)).to.deep.equal([1, 2, 3])
  })
})
