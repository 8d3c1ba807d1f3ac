import { expect } from 'chai'
import fc from 'fast-check'
import { at, expectError, unique } from '../support/answers.ts'
import { call } from '../support/client.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

describe('listing sessions', () => {
  const database = useDatabase()
  const node = useNode(database)

  const list = (query: string) => call('GET', `${node.url}/v1/sessions?${query}`)
  async function create(body: Record<string, unknown>): Promise<string> {
    const answer = await call('POST', `${node.url}/v1/sessions`, { id: unique(), ...body })
    expect(answer.status, answer.text).to.equal(201)
    return answer.json.id
  }
  /** The ids in the answer to a query that must succeed. */
  async function ids(query: string): Promise<string[]> {
    const answer = await list(query)
    expect(answer.status, answer.text).to.equal(200)
    return answer.json.sessions.map((session: { id: string }) => session.id)
  }

  describe('in pages', () => {
    const group = unique('group')
    const names = ['A', 'B', 'Z', '_', 'a', 'a:1', 'a:10', 'a:2', 'b', 'é', 'ﬀ', '🙂'].map(
      (name) => `${name}-${group}`,
    )
    const inOrder = [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))

    before(async () => {
      for (const id of [...names].reverse()) await create({ id, metadata: { group } })
    })

    it('orders by the bytes of the id, not by any language', async () => {
      expect(await ids(`metadata.group=${group}`)).to.deep.equal(inOrder)
    })

    for (const limit of [1, 2, 5, 11, 12, 13, '7'])
      it(`shows everything once in pages of ${limit}, and null after the last`, async () => {
        const pages: string[][] = []
        for (let cursor: string | null = ''; cursor !== null; ) {
          const from: string = cursor && `&cursor=${encodeURIComponent(cursor)}`
          const { json } = await list(`metadata.group=${group}&limit=${limit}${from}`)
          pages.push(json.sessions.map((session: { id: string }) => session.id))
          if (json.next_cursor !== null) expect(json.next_cursor).to.equal(pages.at(-1)?.at(-1))
          cursor = json.next_cursor
        }

        expect(pages.flat()).to.deep.equal(inOrder)
        expect(pages).to.have.length(Math.ceil(inOrder.length / Number(limit)))
      })

    it('goes on after a cursor that no session has', async () => {
      expect(await ids(`metadata.group=${group}&cursor=b`)).to.deep.equal(inOrder.filter((id) => id > 'b'))
    })

    it('is empty after the last', async () => {
      const { json } = await list(`metadata.group=${group}&cursor=${encodeURIComponent('🙂🙂')}`)

      expect(json).to.deep.equal({ sessions: [], next_cursor: null })
    })

    it('has at most 100 sessions without a limit', async () => {
      const many = unique('many')
      await Promise.all(
        Array.from({ length: 101 }, (_, i) => create({ id: `${many}-${i}`, metadata: { many } })),
      )

      expect(await ids(`metadata.many=${many}`)).to.have.length(100)
      expect(await ids(`metadata.many=${many}&limit=1000`)).to.have.length(101)
    })
  })

  describe('by archived', () => {
    it('hides archived sessions unless they are asked for', async () => {
      const where = unique('archived')
      const shown = await create({ id: `a-${where}`, metadata: { where } })
      const hidden = await create({ id: `b-${where}`, metadata: { where } })
      await call('POST', at(node.url, hidden, '/archive'))

      expect(await ids(`metadata.where=${where}`)).to.deep.equal([shown])
      expect(await ids(`metadata.where=${where}&archived=false`)).to.deep.equal([shown])
      expect(await ids(`metadata.where=${where}&archived=true`)).to.deep.equal([hidden])
      expect(await ids(`metadata.where=${where}&archived=all`)).to.deep.equal([shown, hidden])
    })
  })

  describe('by metadata', () => {
    /** Of sessions that differ in one member only, which does a filter find? */
    async function found(values: Record<string, unknown>, filter: string): Promise<string[]> {
      const only = unique('only')
      const named = new Map<string, string>()
      for (const [name, metadata] of Object.entries(values))
        named.set(await create({ metadata: { only, ...(metadata as object) } }), name)
      return (await ids(`metadata.only=${only}&${filter}`)).map((id) => named.get(id) as string).sort()
    }

    for (const [filter, expected] of [
      ['metadata.v=1', ['number', 'text']],
      ['metadata[v]=1', ['number', 'text']],
      ['metadata%5Bv%5D=1', ['number', 'text']],
      ['metadata.v=true', ['flag', 'word']],
      ['metadata.v=1.0', ['number']],
      ['metadata.v=1e0', ['number']],
      ['metadata.v=01', []],
      ['metadata.v=%201', []],
      ['metadata.v=%2B1', []],
      ['metadata.v=TRUE', []],
      ['metadata.v=null', ['nothing in words']],
      ['metadata.v=', ['empty']],
      ['metadata.v=a', ['letter']],
      ['metadata.v=%C3%A9%20%22%5C', ['hard']],
      ['metadata.v=[1]', ['list in words']],
      ['metadata.V=1', []],
    ] as const)
      it(`${decodeURIComponent(filter)} finds ${expected.join(' and ') || 'nothing'}`, async () => {
        const values = {
          number: { v: 1 },
          text: { v: '1' },
          flag: { v: true },
          word: { v: 'true' },
          nothing: { v: null },
          'nothing in words': { v: 'null' },
          empty: { v: '' },
          letter: { v: 'a' },
          hard: { v: 'é "\\' },
          list: { v: [1, 'a', true] },
          'list in words': { v: '[1]' },
          object: { v: { v: 1 } },
          deeper: { w: { v: 1 } },
          absent: {},
        }

        expect(await found(values, filter)).to.deep.equal([...expected])
      })

    it('takes dots in a key for what they are', async () => {
      const values = { dotted: { 'a.b': 'x' }, nested: { a: { b: 'x' } }, bracketed: { 'a]b[': 'x' } }

      expect(await found(values, 'metadata.a.b=x')).to.deep.equal(['dotted'])
      expect(await found(values, 'metadata[a.b]=x')).to.deep.equal(['dotted'])
      expect(await found(values, 'metadata[a]b[]=x')).to.deep.equal(['bracketed'])
    })

    it('wants all of several filters to hold, one key twice included', async () => {
      const values = { both: { a: '1', b: 2 }, one: { a: '1' }, other: { b: 2 } }

      expect(await found(values, 'metadata.a=1&metadata[b]=2')).to.deep.equal(['both'])
      expect(await found(values, 'metadata.a=1&metadata.a=1')).to.deep.equal(['both', 'one'])
      expect(await found(values, 'metadata.a=1&metadata.a=2')).to.deep.equal([])
    })

    it('knows keys that JavaScript and SQL treat in their own way', async () => {
      for (const key of ['__proto__', 'constructor', "a'b", '$1', '%', '"', '\\', ' ', '日本'])
        expect(
          await found(
            { it: JSON.parse(`{${JSON.stringify(key)}:"x"}`), other: { x: 'x' } },
            `metadata.${encodeURIComponent(key)}=x`,
          ),
          key,
        ).to.deep.equal(['it'])
    })

    it('finds every string by itself, with any characters', async () => {
      const only = unique('any')
      const strings = fc
        .string({ unit: 'grapheme', maxLength: 40 })
        .filter((text) => !text.includes('\0') && text.isWellFormed())
      await fc.assert(
        fc.asyncProperty(strings, async (v) => {
          const id = await create({ metadata: { only, v } })

          expect(
            await ids(`metadata.only=${only}&limit=1000&metadata.v=${encodeURIComponent(v)}`),
          ).to.include(id)
        }),
        { numRuns: 25 },
      )
    })
  })

  for (const [query, code, field] of [
    ['limit=0', 'invalid_limit', 'limit'],
    ['limit=1001', 'invalid_limit', 'limit'],
    ['limit=-1', 'invalid_limit', 'limit'],
    ['limit=', 'invalid_limit', 'limit'],
    ['limit=ten', 'invalid_limit', 'limit'],
    ['limit=1.5', 'invalid_limit', 'limit'],
    ['limit=1e2', 'invalid_limit', 'limit'],
    ['limit=99999999999999999999', 'invalid_limit', 'limit'],
    ['limit=1&limit=2', 'invalid_limit', 'limit'],
    ['cursor=', 'invalid_cursor', 'cursor'],
    ['cursor=a%00', 'invalid_cursor', 'cursor'],
    [`cursor=${'x'.repeat(257)}`, 'invalid_cursor', 'cursor'],
    ['cursor=a&cursor=b', 'invalid_cursor', 'cursor'],
    ['archived=', 'invalid_list_query', 'archived'],
    ['archived=yes', 'invalid_list_query', 'archived'],
    ['archived=TRUE', 'invalid_list_query', 'archived'],
    ['archived=true&archived=false', 'invalid_list_query', 'archived'],
    ['metadata.a=%00', 'invalid_list_query', 'metadata.a'],
    ['metadata=a', 'invalid_list_query', 'metadata'],
    ['metadata.=a', 'invalid_list_query', 'metadata.'],
    ['metadata[]=a', 'invalid_list_query', 'metadata[]'],
    ['metadata.a=1&metadata.=1', 'invalid_list_query', 'metadata.'],
    ['metadata.%00=a', 'invalid_list_query', undefined],
    [Array.from({ length: 17 }, (_, i) => `metadata.k${i}=v`).join('&'), 'invalid_list_query', undefined],
  ] as const)
    it(`refuses ?${query.slice(0, 60)}: ${code}`, async () => {
      expectError(await list(query), 400, code, field ? { field } : {})
    })

  for (const query of [
    'limit=1',
    'limit=1000',
    'limit=0007',
    'colour=green',
    `cursor=${'x'.repeat(256)}`,
    'metadata.a=%ff',
    "cursor=';drop%20table%20starcite.sessions;--",
    "metadata.a')%20or%201=1--=x",
  ])
    it(`answers ?${query.slice(0, 60)}`, async () => {
      expect((await list(query)).status).to.equal(200)
    })
})
