import { expect } from 'chai'
import fc from 'fast-check'
import { Ring, RingBudget } from '../../src/live/ring.ts'
import { RenderedEvent } from '../../src/protocol/event.ts'

const frame = (seq: number, length = 1) => new RenderedEvent(seq, 'x'.repeat(length))
/** What a frame of that length costs in memory, in ASCII: its text, its UTF-8, and the objects. */
const cost = (length: number) => 2 * length + 150
const bounds = (events: number, bytes = 1_000_000) => ({ events, bytes })
const seqs = (frames: readonly RenderedEvent[] | undefined) => frames?.map((frame) => frame.seq)

describe('the ring', () => {
  it('hands out what follows a cursor, at most as much as was asked for', () => {
    const ring = new Ring(10, bounds(100), new RingBudget(1_000_000))
    ring.push([frame(11), frame(12), frame(13)])

    expect(seqs(ring.after(10, 100))).to.deep.equal([11, 12, 13])
    expect(seqs(ring.after(11, 1))).to.deep.equal([12])
    expect(seqs(ring.after(13, 100))).to.deep.equal([])
  })

  it('sends a reader to storage for what came before it', () => {
    const ring = new Ring(10, bounds(100), new RingBudget(1_000_000))

    expect(ring.after(9, 100)).to.equal(undefined)
    expect(seqs(ring.after(10, 100))).to.deep.equal([])
  })

  it('takes only what continues it', () => {
    const ring = new Ring(10, bounds(100), new RingBudget(1_000_000))

    ring.push([frame(9), frame(10), frame(12), frame(11), frame(11), frame(13)])

    expect(seqs(ring.after(10, 100))).to.deep.equal([11])
    expect(ring.last).to.equal(11)
  })

  it('drops its oldest past its bound of events', () => {
    const ring = new Ring(0, bounds(2), new RingBudget(1_000_000))

    ring.push([frame(1), frame(2), frame(3)])

    expect(ring.after(0, 100)).to.equal(undefined)
    expect(seqs(ring.after(1, 100))).to.deep.equal([2, 3])
  })

  it('keeps, with its neighbours, to the bytes of the node', () => {
    const budget = new RingBudget(cost(8) + cost(6) - 1)
    const [one, other] = [new Ring(0, bounds(100), budget), new Ring(0, bounds(100), budget)]
    one.push([frame(1, 8)])

    other.push([frame(1, 6)])

    expect(budget.usedBytes).to.equal(cost(8))
    expect(other.last).to.equal(1)
    expect(other.after(0, 100)).to.equal(undefined)
    one.clear()
    expect(budget.usedBytes).to.equal(0)
  })

  it('keeps to its own bytes, so that no session takes the memory of all', () => {
    const budget = new RingBudget(1_000_000)
    const ring = new Ring(0, bounds(100, cost(8) + cost(6)), budget)

    ring.push([frame(1, 8), frame(2, 6), frame(3, 6)])

    expect(seqs(ring.after(1, 100))).to.deep.equal([2, 3])
    expect(budget.usedBytes).to.equal(2 * cost(6))
  })

  it('counts bytes, not characters', () => {
    const budget = new RingBudget(1_000_000)
    const texts = ['x'.repeat(10), 'é'.repeat(10), '中'.repeat(10), '😀'.repeat(10)]

    new Ring(0, bounds(100), budget).push(texts.map((text, i) => new RenderedEvent(i + 1, text)))

    expect(budget.usedBytes).to.equal(4 * 150 + (10 + 10) + (20 + 20) + (20 + 30) + (40 + 40))
  })

  it('answers every cursor with contiguous events up to its last, or not at all, within its bounds', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 40 }).map((n) => n * 40),
        fc.integer({ min: 1, max: 40 }).map((n) => n * 40),
        fc.array(
          fc.array(fc.tuple(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 12 })), {
            maxLength: 8,
          }),
        ),
        (maxEvents, ownBytes, maxBytes, pushes) => {
          const budget = new RingBudget(maxBytes)
          const ring = new Ring(0, bounds(maxEvents, ownBytes), budget)
          for (const frames of pushes) {
            ring.push(frames.map(([seq, length]) => frame(seq, length)))

            expect(budget.usedBytes).to.be.at.most(Math.min(ownBytes, maxBytes))
            for (let cursor = 0; cursor <= ring.last; cursor += 1) {
              const found = seqs(ring.after(cursor, 100))
              if (found === undefined) continue
              expect(found.length).to.be.at.most(maxEvents)
              expect(found).to.deep.equal(
                Array.from({ length: ring.last - cursor }, (_, i) => cursor + 1 + i),
              )
            }
          }
          ring.clear()
          expect(budget.usedBytes).to.equal(0)
        },
      ),
    )
  })
})
