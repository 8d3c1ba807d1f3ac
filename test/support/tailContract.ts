import { expect } from 'chai'
import type pg from 'pg'
import { type Principal, SCOPES } from '../../src/auth/principal.ts'
import { at, unique } from './answers.ts'
import { call } from './client.ts'
import type { Guests } from './guardedNode.ts'
import { startNode } from './node.ts'
import { CUT, SLOW, type TailReader, type TailStart, type TailTransport } from './tailTransports.ts'
import { someEvents, type TieringLab } from './tiering.ts'
import { until } from './until.ts'

interface Node {
  readonly url: string
}

/** What the contract needs, started by the test file. */
export interface TailPlaces {
  readonly database: { readonly url: string }
  readonly db: pg.Client
  /** Each on `database`. */
  readonly node: Node
  /** Remembers two events, so that a reader that is behind is served from storage. */
  readonly narrow: Node
  /** Gives up a reader that takes nothing. */
  readonly strict: Node
  /** A session of more than the buffers of a connection hold. */
  readonly big: { readonly id: string; readonly events: number }
  /** Admits `guests` alone, with two tails for each. */
  readonly guarded: Node
  readonly guests: Guests
  readonly lab: TieringLab
  /** On the database of `lab`. */
  readonly cold: Node
}

const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i)

const LENA: Principal = {
  tenantId: 'acme',
  actor: 'user:lena',
  kind: 'user',
  scopes: SCOPES,
  sessionId: null,
  expiresAtMs: null,
}

/** What every way to tail a session does. */
export function tailContract(transport: TailTransport, places: TailPlaces): void {
  describe(`a tail: ${transport.name}`, () => {
    const readers: TailReader[] = []

    afterEach(() => {
      for (const reader of readers.splice(0)) reader.close()
    })

    function tail(id: string, start: TailStart = {}, { url }: Node = places.node): TailReader {
      const reader = transport.open(url, id, start)
      readers.push(reader)
      return reader
    }
    const seqs = (reader: TailReader) => reader.received().batches.flat()
    const begun = (reader: TailReader) => until('the tail has begun', () => reader.received().hasBegun)
    const has = (reader: TailReader, count: number) =>
      until(`the tail has ${count} events`, () => seqs(reader).length >= count)
    const refusalOf = (reader: TailReader) => until('the tail is refused', () => reader.received().refusal)
    const endOf = (reader: TailReader) => until('the tail has ended', () => reader.received().end)

    async function session(count = 0, id = unique()): Promise<string> {
      await call('POST', `${places.node.url}/v1/sessions`, { id })
      if (count > 0) await append(id, count)
      return id
    }
    const append = async (id: string, count: number, payload: object = {}) => {
      const events = range(1, count).map(() => ({ type: 'n', payload }))
      expect((await call('POST', at(places.node.url, id, '/events'), { events })).status).to.equal(201)
    }

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

    describe('is refused', () => {
      it('with session_not_found for an unknown session, at any cursor', async () => {
        expect(await refusalOf(tail(unique(), { cursor: 9 }))).to.equal('session_not_found')
      })

      it('with cursor_ahead for a cursor beyond the last event', async () => {
        expect(await refusalOf(tail(await session(2), { cursor: 3 }))).to.equal('cursor_ahead')
        expect(await refusalOf(tail(await session(), { cursor: 1 }))).to.equal('cursor_ahead')
      })

      it('with session_erased for an erased session', async () => {
        const id = await session(2)
        await call('DELETE', at(places.node.url, id))

        expect(await refusalOf(tail(id, { cursor: 2 }))).to.equal('session_erased')
      })

      it('with history_changed when the event at its cursor has another time', async () => {
        const id = await session(1)
        await append(id, 1)
        const { events } = (await call('GET', at(places.node.url, id, '/events'))).json
        const [first, second] = events.map(({ inserted_at }: { inserted_at: string }) => inserted_at)

        const same = tail(id, { cursor: 1, cursorInsertedAt: first })
        await has(same, 1)
        expect(await refusalOf(tail(id, { cursor: 1, cursorInsertedAt: second }))).to.equal('history_changed')
      })
    })

    describe('ends', () => {
      it('when its session is erased', async () => {
        const id = await session(1)
        const reader = tail(id)
        await has(reader, 1)

        await call('DELETE', at(places.node.url, id))

        expect(await endOf(reader)).to.equal(transport.ends.erased)
        expect(seqs(reader)).to.deep.equal([1])
      })

      it('when the log goes back behind what it sent, and a new one begins with what the log has', async () => {
        const id = await session()
        for (let i = 0; i < 4; i += 1) await append(id, 1) // each with a time of its own
        const reader = tail(id)
        await has(reader, 4)

        await cutLog(places.db, id, 2)

        expect(await endOf(reader)).to.equal(transport.ends.changed)
        const next = tail(id)
        await has(next, 2)
        await append(id, 1)
        await has(next, 3)
        expect([seqs(reader), seqs(next)]).to.deep.equal([range(1, 4), range(1, 3)])
      })

      it('when its node drains, and goes on from its cursor at another node', async () => {
        const id = await session(2)
        const draining = await startNode(places.database)
        const reader = tail(id, {}, draining)
        try {
          await has(reader, 2)
        } finally {
          await draining.stop()
        }

        expect(await endOf(reader)).to.equal(transport.ends.draining)
        await append(id, 1)
        const next = tail(id, { cursor: 2 })
        await has(next, 1)
        expect(seqs(next)).to.deep.equal([3])
      })
    })

    describe('with a token', () => {
      const node = places.guarded

      function token(of: Partial<Principal> = {}): string {
        const name = unique('token')
        places.guests.admit(name, { ...LENA, actor: `user:${name}`, ...of })
        return name
      }
      async function sessionOfAcme(count = 0): Promise<string> {
        const id = unique()
        const headers = { authorization: `Bearer ${token()}` }
        await call('POST', `${node.url}/v1/sessions`, { id }, headers)
        for (let i = 0; i < count; i += 1) await appendAs(id)
        return id
      }
      const appendAs = (id: string) =>
        call(
          'POST',
          at(node.url, id, '/append'),
          { type: 'n', payload: {} },
          {
            authorization: `Bearer ${token()}`,
          },
        )

      for (const [what, of, code] of [
        ['without the scope', { scopes: new Set(['session:append'] as const) }, 'forbidden_scope'],
        ['of another session', { sessionId: 'another' }, 'forbidden_session'],
        ['of another tenant', { tenantId: 'other' }, 'session_not_found'],
      ] as const)
        it(`${what} is refused with ${code}`, async () => {
          const id = await sessionOfAcme(1)

          expect(await refusalOf(tail(id, { token: token(of) }, node))).to.equal(code)
        })

      it('of its session alone begins', async () => {
        const id = await sessionOfAcme(1)

        await has(tail(id, { token: token({ sessionId: id }) }, node), 1)
      })

      it('ends when the key of the token is withdrawn, and goes on from its cursor with another', async () => {
        const id = await sessionOfAcme(1)
        const withdrawing = new AbortController()
        const reader = tail(id, { token: token({ withdrawn: withdrawing.signal }) }, node)
        const other = tail(id, { token: token() }, node)
        await Promise.all([has(reader, 1), has(other, 1)])

        withdrawing.abort()

        expect(await endOf(reader)).to.equal(transport.ends.tokenWithdrawn)
        await appendAs(id)
        await has(other, 2)
        const next = tail(id, { cursor: 1, token: token() }, node)
        await has(next, 1)
        expect([seqs(reader), seqs(other), seqs(next)]).to.deep.equal([[1], [1, 2], [2]])
      })

      it('is refused with too_many_tails past the most of its principal, until one ends', async () => {
        const id = await sessionOfAcme(1)
        const mine = token()
        const opened = [tail(id, { token: mine }, node), tail(id, { token: mine }, node)]
        for (const reader of opened) await has(reader, 1)

        expect(await refusalOf(tail(id, { token: mine }, node))).to.equal('too_many_tails')
        await has(tail(id, { token: token() }, node), 1)
        opened[0]?.close()
        await until('a place is free', async () => {
          const reader = tail(id, { token: mine }, node)
          const { hasBegun } = await until('the tail is answered', () => {
            const received = reader.received()
            return received.hasBegun || received.refusal !== undefined ? received : undefined
          })
          return hasBegun
        })
      })
    })

    describe('of a slow reader', () => {
      it('is served from storage when the node no longer remembers the events, without a gap', async () => {
        const id = await session(1)
        const reader = tail(id, {}, places.narrow)
        await has(reader, 1)
        reader.pause()
        for (let i = 0; i < 3; i += 1) await append(id, 500, { text: 'x'.repeat(1000) })
        reader.resume()
        await has(reader, 1501)

        expect(seqs(reader)).to.deep.equal(range(1, 1501))
      })

      it('that takes nothing ends, and the rest is there from its cursor', async () => {
        const id = places.big.id
        for (let isHeld = false; !isHeld; ) {
          const reader = tail(id, {}, places.strict)
          await begun(reader)
          reader.pause()
          await until('the node has given the reader up', async () =>
            (await call('GET', `${places.strict.url}/metrics`)).text.includes('starcite_tails 0\n'),
          )
          reader.resume()

          const end = await endOf(reader)
          // A busy machine may take the close before the pause, or too late, when it is cut. Then the test tries again.
          isHeld = end === transport.ends.stalled
          if (!isHeld) expect(end).to.be.oneOf([SLOW, CUT])
          const seen = seqs(reader)
          expect(seen.length).to.be.below(places.big.events)
          const rest = tail(id, { cursor: seen.length })
          await has(rest, 1)
          const all = [...seen, ...seqs(rest)]
          expect(all).to.deep.equal(range(1, all.length))
          rest.close()
        }
      })
    })
  })
}

/** Takes the last events of a session away, as a restore of an older backup does. */
async function cutLog(db: pg.Client, id: string, lastSeq: number): Promise<void> {
  const { rows } = await db.query('select s.sid from starcite.sessions s where s.id = $1', [id])
  const { sid } = rows[0]
  await db.query('begin')
  await db.query('delete from starcite.events e where e.sid = $1 and e.seq > $2', [sid, lastSeq])
  await db.query(
    `update starcite.session_heads h set last_seq = e.seq, chain_hash = e.hash, last_event_at = e.inserted_at
       from starcite.events e where h.sid = $1 and e.sid = $1 and e.seq = $2`,
    [sid, lastSeq],
  )
  await db.query('commit')
}
