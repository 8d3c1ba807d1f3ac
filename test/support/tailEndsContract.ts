import { expect } from 'chai'
import type { Principal } from '../../src/auth/principal.ts'
import { at, unique } from './answers.ts'
import { call } from './client.ts'
import { cutLog } from './cutLog.ts'
import { startNode } from './node.ts'
import { begun, endOf, has, range, refusalOf, seqs, type TailsUnderTest } from './tailsUnderTest.ts'
import { CUT, SLOW } from './tailTransports.ts'
import { until } from './until.ts'

/** A machine that is busy for one try is not for all of them. */
const MAX_TRIES = 10

/** How every tail is refused, and how it ends. */
export function tailEndsContract({ transport, places, tail, session, append }: TailsUnderTest): void {
  async function sidOf(id: string): Promise<string> {
    const { rows } = await places.db.query('select s.sid from starcite.sessions s where s.id = $1', [id])
    return rows[0].sid
  }

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

      await cutLog(places.db, await sidOf(id), 2)

      expect(await endOf(reader)).to.equal(transport.ends.changed)
      const next = tail(id)
      await has(next, 2)
      await append(id, 1)
      await has(next, 3)
      expect([seqs(reader), seqs(next)]).to.deep.equal([range(1, 4), range(1, 3)])
    })

    it('when the request of another reader of its node finds another event at the end of the log', async () => {
      const id = await session()
      for (let i = 0; i < 4; i += 1) await append(id, 1)
      const reader = tail(id, {}, places.unaware)
      await has(reader, 4)
      await cutLog(places.db, await sidOf(id), 2, async () => {
        const again = `select starcite.append($1, 'again', '{}') from generate_series(1, 2)`
        await places.db.query(again, [id]) // its notification says 4 as well, which is no news
      })

      tail(id, { cursor: 4 }, places.unaware)

      expect(await endOf(reader)).to.equal(transport.ends.changed)
      const next = tail(id, {}, places.unaware)
      await has(next, 4)
      expect([seqs(reader), seqs(next)]).to.deep.equal([range(1, 4), range(1, 4)])
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

    /** Each of another user, so that the bound on tails is each one's own. */
    const token = (of: Partial<Principal> = {}) => places.guests.token({ actor: `user:${unique()}`, ...of })
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
      let [isHeld, tries] = [false, 0]
      for (; !isHeld && tries < MAX_TRIES; tries += 1) {
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
      expect(isHeld, `ended with ${transport.ends.stalled} once in ${tries} tries`).to.equal(true)
    })
  })
}
