import { expect } from 'chai'
import type { Step } from '../../src/tiering/step.ts'
import { READINGS, type Reading, someEvents, TieringLab } from '../support/tiering.ts'
import { useEach } from '../support/use.ts'

const EVENTS = 700
const STEPS: readonly Step[] = [
  'closed',
  'stored',
  'verified',
  'recorded',
  'copied',
  'switched',
  'detached',
  'dropped',
]

describe('readers of what is being moved', () => {
  const lab = useEach(() => TieringLab.open())
  let sid: string
  let hot: Record<string, string[]>

  beforeEach(async () => {
    sid = await lab.session('one')
    // The first half is cold already, so that readers cross from cold to what is moving, and on to what is new.
    await lab.append(someEvents([{ session: 'one' }], EVENTS))
    await lab.move()
    await lab.append(someEvents([{ session: 'one' }], EVENTS).map(({ producer, ...event }) => event))
    hot = await lab.shown(sid)
  })

  it('see the same at every step: pages in both orders, filters, tails from the start and from the middle (I3, I5, I6)', async () => {
    const seen: Step[] = []

    await lab.move({
      probe: async (step) => {
        seen.push(step)
        expect(await lab.shown(sid), step).to.deep.equal(hot)
        expect(await lab.tail(sid, EVENTS - 10), step).to.deep.equal(hot['by a tail']?.slice(EVENTS - 10))
      },
    })

    expect(new Set(seen)).to.deep.equal(new Set(STEPS))
  })

  it('see the same when a move goes on between two pages, wherever they stand (I3, I6)', async () => {
    const cursors = Object.entries(READINGS).map(([name, reading]) => ({ name, reading, ...start() }))
    const advance = async () => {
      for (const cursor of cursors) await page(cursor.reading, cursor)
    }
    await lab.move({ probe: advance })
    while (cursors.some((cursor) => !cursor.done)) await advance()

    for (const { name, reading, frames } of cursors)
      expect(reading.order === 'desc' ? frames.reverse() : frames, name).to.deep.equal(hot[name])
  })

  function start(): { cursor: number | undefined; done: boolean; frames: string[] } {
    return { cursor: undefined, done: false, frames: [] }
  }

  async function page(reading: Reading, progress: ReturnType<typeof start>): Promise<void> {
    if (progress.done) return
    const lastSeq = 2 * EVENTS
    const { order = 'asc', type = null, actor = null, limit = 10 } = reading
    const found = await lab.history.page({
      sid,
      lastSeq,
      cursor: progress.cursor,
      limit,
      order,
      type,
      actor,
      waitMs: 0,
      signal: new AbortController().signal,
    })
    progress.frames.push(...found.events.map(({ text }) => text))
    progress.done = found.nextCursor === null || (order === 'asc' && found.nextCursor >= lastSeq)
    progress.cursor = found.nextCursor ?? undefined
  }

  it('go on live while it moves: a tail gets what is appended at each step, after all that was before (I1, I3)', async () => {
    const tail = lab.follow(sid)
    await tail.has(2 * EVENTS)

    let appended = 0
    await lab.move({
      probe: async (step) => {
        await lab.append([{ session: 'one', payload: JSON.stringify({ step }) }])
        appended += 1
        await tail.has(2 * EVENTS + appended)
      },
    })

    await tail.stop()
    expect(tail.faults).to.deep.equal([])
    expect(tail.frames).to.deep.equal(await lab.tail(sid))
    expect(appended).to.be.at.least(STEPS.length)
  })

  it('are held up by no lock: they read on while a move waits for a transaction that has read the segment', async () => {
    const { db } = lab
    await db.query('begin')
    await db.query('select count(*) from starcite.events')
    const moving = lab
      .job()
      .pass()
      .catch((error: Error) => error)

    const times: number[] = []
    for (let i = 0; i < 40; i += 1) {
      const started = performance.now()
      expect(
        await lab.history.page({
          sid,
          lastSeq: 2 * EVENTS,
          cursor: EVENTS,
          limit: 10,
          order: 'asc',
          type: null,
          actor: null,
          waitMs: 0,
          signal: new AbortController().signal,
        }),
      )
        .to.have.property('events')
        .with.lengthOf(10)
      times.push(performance.now() - started)
    }
    await db.query('commit')
    await moving
    await lab.move()

    expect(await lab.shown(sid)).to.deep.equal(hot)
    expect(Math.max(...times)).to.be.below(4000) // detaching waits for a lock up to 5 s
  })
})
