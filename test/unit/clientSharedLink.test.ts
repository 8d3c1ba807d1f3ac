import { expect } from 'chai'
import type { EventPage } from '../../src/client/http/answers.ts'
import { readEvent } from '../../src/client/rawJson.ts'
import type { Cursor } from '../../src/client/tail/cursor.ts'
import type { End } from '../../src/client/tail/link.ts'
import type { PageReader } from '../../src/client/tail/pageReader.ts'
import { SharedLink } from '../../src/client/tail/shared/sharedLink.ts'
import type { AnyEvents, SessionEvent } from '../../src/client/types.ts'

const text = (seq: number) =>
  `{"seq":${seq},"type":"t","payload":{},"actor":"a","metadata":{},"refs":{},"inserted_at":"time ${seq}"}`
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + 1 + i)

/** The same numbers for the same seed (mulberry32). */
function random(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** A log that grows, read in pages that may take a while. */
class Log {
  head = 0
  reads = 0
  readonly #take: (below: number) => number

  constructor(take: (below: number) => number) {
    this.#take = take
  }

  async after(cursor: Cursor): Promise<EventPage<AnyEvents>> {
    this.reads += 1
    expect(cursor.insertedAt).to.equal(cursor.seq === 0 ? undefined : `time ${cursor.seq}`)
    for (let turns = this.#take(4); turns > 0; turns -= 1) await turn()
    const end = Math.min(this.head, cursor.seq + 1 + this.#take(20))
    const [last_seq, events] = [
      this.head,
      range(cursor.seq, end).map((seq) => readEvent<AnyEvents>(text(seq))),
    ]
    for (let turns = this.#take(4); turns > 0; turns -= 1) await turn()
    return { events, next_cursor: end, last_seq }
  }
}

describe('a tail by way of a shared connection', () => {
  const open = (log: Log, live: Parameters<typeof SharedLink.open>[2]) => {
    const [pages, cursor] = [log as unknown as PageReader, { seq: 0, insertedAt: undefined }]
    const { signal } = new AbortController()
    return SharedLink.open(pages, pages.after(cursor, signal), live, cursor, signal)
  }

  for (let seed = 1; seed <= 40; seed += 1)
    it(`has every event in order, with events pushed, lost and pushed again (seed ${seed})`, async () => {
      const take = random(seed)
      const log = new Log(take)
      log.head = take(50)
      const goal = log.head + 300
      let pushed = log.head
      let link: SharedLink | undefined
      const grow = async () => {
        for (; log.head < goal; await turn()) {
          log.head = Math.min(goal, log.head + take(5))
          if (link === undefined) continue
          const [from, to] = [Math.max(0, pushed - take(3)), log.head]
          const isLost = take(3) === 0 && log.head < goal
          if (!isLost && to > from) link.onEvents(from + 1, range(from, to).map(text))
          else if (take(2) === 0) link.onLastSeq(to)
          pushed = to
        }
        link?.onLastSeq(goal)
      }
      let position = 0
      const growing = grow()
      link = await open(log, async (_, given) => {
        link = given
        position = log.head
        pushed = position
        await turn()
        return { position, transport: 'sse', heardAt: 0, check: () => {}, leave: () => {} }
      })

      const seqs: number[] = []
      while ((seqs.at(-1) ?? 0) < goal) {
        const events = (await link.next()) as readonly SessionEvent[]
        for (const { seq } of events) if (seq > (seqs.at(-1) ?? 0)) seqs.push(seq)
        for (let turns = take(6); turns > 0; turns -= 1) await turn()
      }
      await growing

      expect(seqs).to.deep.equal(range(0, goal))
    })

  it('keeps a bounded part of what is pushed to a reader that takes nothing, and reads the rest', async () => {
    const log = new Log(() => 0)
    const link = await open(log, async () => ({
      position: 0,
      transport: 'sse',
      heardAt: 0,
      check: () => {},
      leave: () => {},
    }))
    const large = (seq: number) => text(seq).replace('{}', `{"x":"${'x'.repeat(1_000_000)}"}`)

    for (const seq of range(0, 12)) link.onEvents(seq, [large(seq)])
    log.head = 12
    const seen: SessionEvent[] = []
    while (seen.at(-1)?.seq !== 12) seen.push(...((await link.next()) as readonly SessionEvent[]))

    expect(seen.map(({ seq }) => seq)).to.deep.equal(range(0, 12))
    expect(seen.filter(({ raw }) => raw.length > 1000).length).to.be.within(1, 5)
    expect(log.reads).to.be.at.least(2)
  })

  it('hands out nothing before the server has judged its own token, and leaves what it had joined when it is refused', async () => {
    let hasJoined = false
    const refusing = { after: () => Promise.reject(new Error('401')) }
    const opening = open(refusing as unknown as Log, async () => {
      hasJoined = true
      return { position: 0, transport: 'sse', heardAt: 0, check: () => {}, leave: () => {} }
    })

    expect(await opening.catch((error: Error) => error.message)).to.equal('401')
    expect(hasJoined).to.equal(false)
  })

  it('gives what was pushed before it tells of the end', async () => {
    const link = await open(new Log(() => 0), async () => ({
      position: 0,
      transport: 'sse',
      heardAt: 0,
      check: () => {},
      leave: () => {},
    }))
    link.onEvents(1, [text(1)])
    link.onEnd({ at: 'broken', reason: 'cut' })

    expect(((await link.next()) as readonly SessionEvent[]).map(({ seq }) => seq)).to.deep.equal([1])
    expect(((await link.next()) as End).at).to.equal('broken')
  })
})
