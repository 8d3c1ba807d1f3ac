import { expect } from 'chai'
import { unique } from './answers.ts'
import { tailEndsContract } from './tailEndsContract.ts'
import { begun, endOf, has, range, seqs, type TailPlaces, TailsUnderTest } from './tailsUnderTest.ts'
import type { TailReader, TailTransport } from './tailTransports.ts'
import { someEvents } from './tiering.ts'

/** What every way to tail a session does. */
export function tailContract(transport: TailTransport, places: TailPlaces): void {
  describe(`a tail: ${transport.name}`, () => {
    const tails = new TailsUnderTest(transport, places)
    const { tail, session, append } = tails

    afterEach(() => tails.close())

    it('sends the stored events after its cursor, then live ones', async () => {
      const id = await session(5)
      const opened = [undefined, 0, 3, 5].map((cursor) => ({ cursor, reader: tail(id, { cursor }) }))
      for (const { cursor = 0, reader } of opened) {
        await begun(reader)
        await has(reader, 5 - cursor)
      }

      await append(id, 1)
      await append(id, 2)

      for (const { cursor = 0, reader } of opened) {
        await has(reader, 8 - cursor)
        expect(seqs(reader)).to.deep.equal(range(cursor + 1, 8))
        expect(reader.received().end).to.equal(undefined)
      }
    })

    it('sends more than a page', async () => {
      const id = await session(1000)
      for (const count of [500, 1000]) await append(id, count)

      const reader = tail(id)
      await has(reader, 2500)

      expect(seqs(reader)).to.deep.equal(range(1, 2500))
    })

    if (transport.hasBatchSizes)
      it('sends lists of at most as many events as its batch size, live ones too', async () => {
        const id = await session(7)
        const sizes = [
          [0, undefined, [1, 1, 1, 1, 1, 1, 1]],
          [4, 1, [1, 1, 1]],
          [2, 2, [2, 2, 1]],
          [0, 3, [3, 3, 1]],
          [0, 1000, [7]],
        ] as const
        const opened = sizes.map(([cursor, batchSize, lengths]) => ({
          cursor,
          lengths,
          reader: tail(id, { cursor, batchSize }),
        }))
        for (const { cursor, reader } of opened) await has(reader, 7 - cursor)
        await append(id, 1)

        for (const { cursor, lengths, reader } of opened) {
          await has(reader, 8 - cursor)
          const { batches } = reader.received()
          expect(batches.map((batch) => batch.length)).to.deep.equal([...lengths, 1])
          expect(seqs(reader)).to.deep.equal(range(cursor + 1, 8))
        }
      })

    it('has no gap and no repeat, for each of many readers, under appends while it begins', async () => {
      const id = await session(3)
      const opened: TailReader[] = []
      for (let i = 0; i < 10; i += 1) {
        opened.push(tail(id, { cursor: i % 3, batchSize: i % 2 ? 4 : undefined }))
        await append(id, 2)
      }

      for (const [i, reader] of opened.entries()) {
        await has(reader, 23 - (i % 3))
        expect(seqs(reader)).to.deep.equal(range(1 + (i % 3), 23))
      }
    })

    it('gives a reader that reconnects with its cursor again and again every event once', async () => {
      const id = await session(1)
      const seen: number[] = []
      for (let round = 0; round < 6; round += 1) {
        const reader = tail(id, { cursor: seen.length, batchSize: round % 2 ? 3 : undefined })
        const appending = append(id, 4)
        await has(reader, 1)
        reader.close()
        await endOf(reader)
        seen.push(...seqs(reader))
        await appending
      }

      expect(seen).to.deep.equal(range(1, seen.length))
    })

    it('sends the events of its own session alone', async () => {
      const [one, other] = [await session(1), await session(1)]
      const reader = tail(one)
      await has(reader, 1)
      await append(other, 3)
      await append(one, 1)
      await has(reader, 2)

      expect(seqs(reader)).to.deep.equal([1, 2])
    })

    it('tails a session whose id has every kind of character', async () => {
      const id = await session(2, `a:b/c "d" %20?&#é🙂\\-${unique()}`)
      const reader = tail(id)
      await has(reader, 2)

      expect(seqs(reader)).to.deep.equal([1, 2])
    })

    it('catches up across cold and hot events, and goes on with live ones while segments are moved', async () => {
      const { lab } = places
      const id = unique()
      await lab.session(id)
      const more = (count: number) =>
        lab.append(someEvents([{ session: id }], count).map(({ producer: _, ...event }) => event))
      await more(5)
      await lab.move()
      await more(4)
      expect(await lab.count('events'), 'the later events alone are hot').to.equal(4)

      const opened = [0, 3, 5, 7].map((cursor) => ({ cursor, reader: tail(id, { cursor }, places.cold) }))
      for (const { cursor, reader } of opened) await has(reader, 9 - cursor)
      await more(2)

      for (const { cursor, reader } of opened) {
        await has(reader, 11 - cursor)
        expect(seqs(reader)).to.deep.equal(range(cursor + 1, 11))
      }
      for (let round = 0; round < 3; round += 1) await Promise.all([lab.move(), more(3)])
      for (const { cursor, reader } of opened) {
        await has(reader, 20 - cursor)
        expect(seqs(reader)).to.deep.equal(range(cursor + 1, 20))
      }
      await lab.move()
    })

    tailEndsContract(tails)
  })
}
