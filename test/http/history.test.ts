import { expect } from 'chai'
import { at, expectError, unique } from '../support/answers.ts'
import { call } from '../support/client.ts'
import { until } from '../support/until.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

const COUNT = 25
const seqsFrom = (first: number, last: number) =>
  Array.from({ length: Math.abs(last - first) + 1 }, (_, i) => (last > first ? first + i : first - i))

describe('history over HTTP', () => {
  const database = useDatabase()
  const node = useNode(database)
  let id: string

  /** Event n is of type `t0`, `t1` or `t2`, by actor `a0` or `a1`. */
  const event = (n: number) => ({ type: `t${n % 3}`, actor: `a${n % 2}`, payload: { n } })

  before(async () => {
    id = await session()
    await append(id, ...seqsFrom(1, COUNT).map(event))
  })

  async function session(): Promise<string> {
    return (await call('POST', `${node.url}/v1/sessions`, { id: unique() })).json.id
  }
  const append = (to: string, ...events: object[]) => call('POST', at(node.url, to, '/events'), { events })
  const read = (query: string, of = id) => call('GET', at(node.url, of, `/events?${query}`))
  const seqs = (json: { events: { seq: number }[] }) => json.events.map((event) => event.seq)
  async function page(query: string, of = id) {
    const answer = await read(query, of)
    expect(answer.status, answer.text).to.equal(200)
    return { seqs: seqs(answer.json), next: answer.json.next_cursor, last: answer.json.last_seq }
  }

  for (const [query, expected, next] of [
    ['', seqsFrom(1, 25), 25],
    ['cursor=0', seqsFrom(1, 25), 25],
    ['cursor=20', seqsFrom(21, 25), 25],
    ['cursor=25', [], 25],
    ['limit=10', seqsFrom(1, 10), 10],
    ['limit=25', seqsFrom(1, 25), 25],
    ['cursor=7&limit=2', [8, 9], 9],
    ['cursor=007', seqsFrom(8, 25), 25],
    ['order=asc&limit=1', [1], 1],
    ['order=desc', seqsFrom(25, 1), null],
    ['order=desc&limit=10', seqsFrom(25, 16), 16],
    ['order=desc&cursor=16&limit=10', seqsFrom(15, 6), 6],
    ['order=desc&cursor=6', seqsFrom(5, 1), null],
    ['order=desc&cursor=2', [1], null],
    ['order=desc&cursor=1', [], null],
    ['order=desc&cursor=0', [], null],
    ['order=desc&limit=25', seqsFrom(25, 1), null],
    ['order=desc&cursor=1000', seqsFrom(25, 1), null],
    ['type=t0', seqsFrom(1, 25).filter((seq) => seq % 3 === 0), 25],
    ['type=t0&limit=2', [3, 6], 6],
    ['type=t0&limit=8', seqsFrom(1, 25).filter((seq) => seq % 3 === 0), 25],
    ['type=t0&cursor=24', [], 25],
    ['actor=a1&type=t0', [3, 9, 15, 21], 25],
    ['type=t9', [], 25],
    ['type=t', [], 25],
    ['type=T0', [], 25],
    ['type=t%25', [], 25],
    ["type=t0'%20or%20'1'='1", [], 25],
    ['order=desc&type=t0&limit=2', [24, 21], 21],
    ['order=desc&type=t9', [], null],
    ['wait=0', seqsFrom(1, 25), 25],
    ['wait=60', seqsFrom(1, 25), 25],
    ['wait=60&order=desc&cursor=1', [], null],
    ['colour=green', seqsFrom(1, 25), 25],
  ] as const)
    it(`?${query} shows ${expected.length} events and goes on at ${next}`, async () => {
      expect(await page(query)).to.deep.equal({ seqs: [...expected], next, last: COUNT })
    })

  for (const order of ['asc', 'desc'])
    for (const filter of ['', '&type=t1', '&actor=a0&type=t2'])
      for (const limit of [1, 4, 7])
        it(`pages of ${limit}, ${order}${filter}, show every event once`, async () => {
          const whole = (await page(`order=${order}&limit=1000${filter}`)).seqs
          const found: number[] = []
          for (let from = ''; ; ) {
            const { seqs: some, next } = await page(`order=${order}&limit=${limit}${filter}${from}`)
            found.push(...some)
            if (next === null || (order === 'asc' && next === COUNT)) break
            from = `&cursor=${next}`
          }

          expect(found).to.deep.equal(whole)
        })

  it('has at most 100 events without a limit', async () => {
    const long = await session()
    await append(long, ...seqsFrom(1, 101).map(event))

    expect((await page('', long)).seqs).to.have.length(100)
    expect((await page('order=desc', long)).next).to.equal(2)
  })

  it('is empty, in both directions, when nothing was appended', async () => {
    const empty = await session()

    expect(await page('', empty)).to.deep.equal({ seqs: [], next: 0, last: 0 })
    expect(await page('order=desc', empty)).to.deep.equal({ seqs: [], next: null, last: 0 })
  })

  it('shows the same bytes of an event on every page', async () => {
    const [asc, desc, filtered] = await Promise.all([
      read('cursor=2&limit=1'),
      read('order=desc&cursor=4&limit=1'),
      read('type=t0&limit=1'),
    ])
    const eventOf = (text: string) => /"events":\[(.*)\]/.exec(text)?.[1]

    expect(eventOf(desc.text)).to.equal(eventOf(asc.text))
    expect(eventOf(filtered.text)).to.equal(eventOf(asc.text))
  })

  it('ends a page at its bytes, and misses nothing by it', async () => {
    const heavy = await session()
    const text = 'x'.repeat(900_000)
    for (let i = 0; i < 3; i += 1)
      await append(heavy, ...seqsFrom(1, 5).map((n) => ({ type: 'a', payload: { n, text } })))
    for (const order of ['asc', 'desc']) {
      const pages: number[][] = []
      for (let from = ''; ; ) {
        const { seqs: some, next } = await page(`order=${order}&limit=1000${from}`, heavy)
        pages.push(some)
        if (next === null || next === 15) break
        from = `&cursor=${next}`
      }

      expect(pages.flat()).to.deep.equal(order === 'asc' ? seqsFrom(1, 15) : seqsFrom(15, 1))
      expect(pages.length).to.be.greaterThan(1)
    }
  })

  describe('that waits', () => {
    it('is answered as soon as something is appended', async () => {
      const quiet = await session()
      const waiting = page('wait=60', quiet)
      await append(quiet, event(1))

      expect(await waiting).to.deep.equal({ seqs: [1], next: 1, last: 1 })
    })

    it('is answered, empty, when its time is over', async () => {
      const quiet = await session()

      expect(await page('wait=1', quiet)).to.deep.equal({ seqs: [], next: 0, last: 0 })
    })

    it('waits for an event that matches, and passes over those that do not', async () => {
      const quiet = await session()
      const waiting = page('wait=60&type=t0', quiet)
      await append(quiet, event(1))
      await append(quiet, event(2), event(3), event(4))

      const answer = await waiting

      expect(answer.seqs).to.deep.equal([3])
    })

    it('wakes every waiting request', async () => {
      const quiet = await session()
      const waiting = Array.from({ length: 20 }, () => page('wait=60', quiet))
      await append(quiet, event(1))

      for (const answer of await Promise.all(waiting)) expect(answer.seqs).to.deep.equal([1])
    })

    it('leaves nothing behind when its reader goes away', async () => {
      const quiet = await session()
      const leaving = new AbortController()
      const gone = fetch(at(node.url, quiet, '/events?wait=60'), { signal: leaving.signal }).catch(
        () => 'gone',
      )
      const tails = async () =>
        Number(/^starcite_tails (\d+)/m.exec((await call('GET', `${node.url}/metrics`)).text)?.[1])
      await until('somebody waits', async () => (await tails()) > 0)

      leaving.abort()

      expect(await gone).to.equal('gone')
      await until('nobody waits', async () => (await tails()) === 0)
    })
  })

  for (const [query, code, field] of [
    ['cursor=', 'invalid_cursor', 'cursor'],
    ['cursor=-1', 'invalid_cursor', 'cursor'],
    ['cursor=1.0', 'invalid_cursor', 'cursor'],
    ['cursor=one', 'invalid_cursor', 'cursor'],
    ['cursor=1e3', 'invalid_cursor', 'cursor'],
    ['cursor=%201', 'invalid_cursor', 'cursor'],
    ['cursor=9007199254740992', 'invalid_cursor', 'cursor'],
    ['cursor=99999999999999999999', 'invalid_cursor', 'cursor'],
    ['cursor=1&cursor=1', 'invalid_cursor', 'cursor'],
    ['order=desc&cursor=-1', 'invalid_cursor', 'cursor'],
    ['limit=0', 'invalid_limit', 'limit'],
    ['limit=1001', 'invalid_limit', 'limit'],
    ['limit=', 'invalid_limit', 'limit'],
    ['limit=-5', 'invalid_limit', 'limit'],
    ['limit=many', 'invalid_limit', 'limit'],
    ['limit=1&limit=1', 'invalid_limit', 'limit'],
    ['order=', 'invalid_list_query', 'order'],
    ['order=up', 'invalid_list_query', 'order'],
    ['order=DESC', 'invalid_list_query', 'order'],
    ['order=asc&order=desc', 'invalid_list_query', 'order'],
    ['type=', 'invalid_list_query', 'type'],
    ['type=%00', 'invalid_list_query', 'type'],
    ['type=a&type=b', 'invalid_list_query', 'type'],
    ['actor=', 'invalid_list_query', 'actor'],
    ['actor=a&actor=b', 'invalid_list_query', 'actor'],
    ['wait=61', 'invalid_list_query', 'wait'],
    ['wait=-1', 'invalid_list_query', 'wait'],
    ['wait=', 'invalid_list_query', 'wait'],
    ['wait=1.5', 'invalid_list_query', 'wait'],
    ['wait=1&wait=2', 'invalid_list_query', 'wait'],
  ] as const)
    it(`refuses ?${query}: ${code}`, async () => {
      expectError(await read(query), 400, code, { field })
    })

  it('answers cursor_ahead when the cursor is ahead of the log', async () => {
    expectError(await read('cursor=26'), 409, 'cursor_ahead', { last_seq: COUNT })
    expectError(await read('cursor=26&wait=60'), 409, 'cursor_ahead', { last_seq: COUNT })
  })

  it('is not found where there is no session, after the query was looked at', async () => {
    expectError(await read('', unique()), 404, 'session_not_found')
    expectError(await read('cursor=x', unique()), 400, 'invalid_cursor')
  })
})
