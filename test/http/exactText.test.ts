import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import fc from 'fast-check'
import { at, expectError, unique } from '../support/answers.ts'
import { call, TailClient } from '../support/client.ts'
import { elementTexts, memberTexts } from '../support/jsonText.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

/** The members that must come back to the letter, as one text. */
function kept(event: string): string {
  const members = memberTexts(event)
  return ['payload', 'metadata', 'refs'].map((name) => members.get(name) ?? '{}').join('\n')
}

const agentRun = readFileSync(new URL('../data/agent-run.ndjson', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line !== '')

describe('what was sent comes back to the letter (I5)', () => {
  const database = useDatabase()
  const node = useNode(database)
  const tails: TailClient[] = []

  afterEach(() => {
    for (const tail of tails.splice(0)) tail.close()
  })

  async function session(): Promise<string> {
    return (await call('POST', `${node.url}/v1/sessions`, { id: unique() })).json.id
  }
  const append = (id: string, text: string) => call('POST', at(node.url, id, '/append'), text)

  /** The texts of the events of a page of history. */
  async function history(id: string, query: string): Promise<string[]> {
    const { text } = await call('GET', at(node.url, id, `/events?${query}`))
    return elementTexts(memberTexts(text).get('events') ?? '[]')
  }

  async function backwards(id: string): Promise<string[]> {
    const found: string[] = []
    for (let cursor = ''; ; ) {
      const { text, json } = await call('GET', at(node.url, id, `/events?order=desc&limit=100${cursor}`))
      found.push(...elementTexts(memberTexts(text).get('events') ?? '[]'))
      if (json.next_cursor === null) return found.reverse()
      cursor = `&cursor=${json.next_cursor}`
    }
  }

  const textsOf = (frames: readonly string[]) =>
    frames.flatMap((frame) => (frame.startsWith('[') ? elementTexts(frame) : [frame]))

  function tail(id: string, query: string): TailClient {
    const opened = new TailClient(node.url, id, query)
    tails.push(opened)
    return opened
  }
  async function tailed(client: TailClient, count: number): Promise<string[]> {
    await client.until(({ frames }) => textsOf(frames).length >= count)
    return textsOf(client.frames)
  }

  /** Every way to read a session of so many events that is stored already. */
  async function everyReading(id: string, count: number): Promise<Record<string, string[]>> {
    const half = Math.floor(count / 2)
    return {
      history: await history(id, 'limit=1000'),
      'history backwards': await backwards(id),
      tail: await tailed(tail(id, 'cursor=0'), count),
      'tail with batch_size': await tailed(tail(id, 'cursor=0&batch_size=50'), count),
      'tail that ends': await tailed(tail(id, 'follow=false'), count),
      'tail resumed': [
        ...(await history(id, `limit=${Math.max(1, half)}`)).slice(0, half),
        ...(await tailed(tail(id, `cursor=${half}`), count - half)),
      ],
    }
  }

  describe('of an agent run', () => {
    /** Live tails that were open before the first event, and every reading afterwards. */
    async function readBack(write: (id: string) => Promise<void>): Promise<void> {
      const id = await session()
      const live = { live: tail(id, 'cursor=0'), 'live with batch_size': tail(id, 'cursor=0&batch_size=7') }
      await write(id)

      const readings = await everyReading(id, agentRun.length)
      for (const [name, client] of Object.entries(live))
        readings[name] = await tailed(client, agentRun.length)

      const sent = agentRun.map(kept)
      const [first] = Object.values(readings)
      for (const [name, texts] of Object.entries(readings)) {
        expect(texts.map(kept), name).to.deep.equal(sent)
        expect(texts, `${name}, whole frames`).to.deep.equal(first)
        expect(texts.map((text) => JSON.parse(text).seq)).to.deep.equal(sent.map((_, i) => i + 1))
      }
    }

    it('appended one by one', () =>
      readBack(async (id) => {
        for (const line of agentRun) expect((await append(id, line)).status).to.equal(201)
      }))

    it('appended as one batch of JSON', () =>
      readBack(async (id) => {
        const answer = await call('POST', at(node.url, id, '/events'), `{"events":[${agentRun.join(',')}]}`)
        expect(answer.json, answer.text).to.include({ last_seq: agentRun.length })
      }))

    it('appended as NDJSON in pieces', () =>
      readBack(async (id) => {
        for (let i = 0; i < agentRun.length; i += 100) {
          const piece = agentRun.slice(i, i + 100).join('\n')
          const answer = await call('POST', at(node.url, id, '/events'), piece, {
            'content-type': 'application/x-ndjson',
          })
          expect(answer.status, answer.text).to.equal(201)
        }
      }))
  })

  describe('of payloads that programs like to mend', () => {
    const deep = (levels: number) => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`
    for (const [what, payload] of [
      ['numbers', '{"a":1.0,"b":1,"c":1e2,"d":1E+2,"e":-0,"f":0.10,"g":-0.0e-0}'],
      [
        'integers past 53 and 64 bits',
        '{"a":9007199254740993,"b":18446744073709551616,"c":-9223372036854775809}',
      ],
      ['many digits', `{"a":3.${'14159'.repeat(100)}}`],
      ['the order of keys', '{"z":1,"10":2,"9":3,"a":4,"":5}'],
      ['repeated keys', '{"a":1,"a":2,"b":{"c":1,"c":null}}'],
      ['white space', '{ "a" :\t[ 1 ,\r\n 2 ] }'],
      ['escapes', String.raw`{"\u0061\/":"\u00e9\"\\\b\f\n\r\t\u001f\u007F\/"}`],
      ['what looks like a forbidden escape', String.raw`{"a":"\\u0000","b":"\\ud83d"}`],
      ['escaped pairs', String.raw`{"a":"\ud83d\ude00","\uD834\uDD1E":1}`],
      ['half pairs, as streamed text has them', String.raw`{"a":"\ud83d","\ude00":["x\udc00\ud800y"]}`],
      ['scripts', '{"日本":"עברית","العربية":"é","🙂":"👩‍👩‍👧‍👦 ﷽"}'],
      ['one character written in two ways', '{"\u00e9":1,"e\u0301":2}'],
      ['characters that end lines in JavaScript', '{"a":"x\u2028y\u2029z\u0085"}'],
      ['a byte order mark and private characters inside', '{"a":"\ufeff\ue000\u{10ffff}\ufffe"}'],
      [
        'names that objects inherit',
        '{"__proto__":{"x":1},"constructor":{"prototype":1},"toString":null,"hasOwnProperty":1}',
      ],
      ['null', '{"a":null,"b":[null]}'],
      ['nothing', '{}'],
      ['what looks like SQL', `{"a":"'; drop table starcite.events; --","b":"$1 %s \\\\ E'\\\\x'"}`],
      ['what looks like an array of Postgres', '{"a":"{1,2,\\"NULL\\",NULL}"}'],
      ['what looks like a frame', String.raw`{"a":"\n\ndata: {\"seq\":1}\n\nid: 9"}`],
      ['60 levels', deep(60)],
      ['500 levels', deep(500)],
      ['a long text', `{"a":"${'ab"'.replace('"', '\\"').repeat(50_000)}"}`],
      ['many members', `{${Array.from({ length: 5000 }, (_, i) => `"k${i}":${i}.0`).join(',')}}`],
    ] as const)
      it(`${what}, on every path`, async () => {
        const id = await session()
        const live = tail(id, 'cursor=0')
        const sent = `{"type":"a","payload":${payload},"metadata":${payload},"refs":${payload}}`

        const answer = await append(id, sent)

        expect(answer.status, answer.text).to.equal(201)
        const readings = { ...(await everyReading(id, 1)), live: await tailed(live, 1) }
        for (const [name, texts] of Object.entries(readings))
          expect(texts.map(kept), name).to.deep.equal([kept(sent)])
      })

    it('any JSON, as any client may write it, live and stored', async () => {
      const id = await session()
      const live = tail(id, 'cursor=0&batch_size=10')
      let count = 0
      const strings = fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\0', ''))
      const objects = fc.dictionary(strings, fc.oneof(fc.jsonValue({ maxDepth: 3 }), strings))
      await fc.assert(
        fc.asyncProperty(objects, fc.constantFrom(undefined, 1, '\t'), async (object, indent) => {
          const payload = JSON.stringify(object, undefined, indent)
          if (/\\u0000/.test(payload)) return

          const answer = await append(id, `{"type":"a","payload":${payload}}`)

          count += 1
          expect(answer.json, answer.text).to.include({ seq: count })
          const [stored] = await history(id, `cursor=${count - 1}`)
          expect(memberTexts(stored as string).get('payload')).to.equal(payload)
        }),
        { numRuns: 100 },
      )
      expect(await tailed(live, count)).to.deep.equal(await history(id, 'limit=1000'))
    })
  })

  describe('or is refused', () => {
    const nested = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`
    for (const [what, payload, code] of [
      ['2,000 levels', `{"a":${nested(2000)}}`, 'invalid_json'],
      ['2,000 levels of objects', `${'{"a":'.repeat(2000)}1${'}'.repeat(2000)}`, 'invalid_json'],
      ['half a million brackets', `{"a":${'['.repeat(500_000)}}`, 'invalid_json'],
      ['U+0000', String.raw`{"a":"\u0000"}`, 'invalid_event'],
      ['U+0000 in a key', String.raw`{"a":[{"x\u0000":1}]}`, 'invalid_event'],
      ['a number past every numeric', '{"a":1e400000}', 'invalid_event'],
    ] as const)
      it(`${what}: ${code}, and the session goes on`, async () => {
        const id = await session()

        const answer = await append(id, `{"type":"a","payload":${payload}}`)

        expectError(answer, 400, code)
        expect((await append(id, '{"type":"a","payload":{}}')).json).to.include({ seq: 1 })
        expect((await tailed(tail(id, 'follow=false'), 1)).length).to.equal(1)
      })
  })

  it('of a session, too', async () => {
    const metadata = '{"z":1.0,"a":12345678901234567890,"__proto__":{"b":null},"日本":"\\u00e9"}'
    const creator = '{"type":"user","id":"u","n":1.50}'
    const id = unique()

    const created = await call(
      'POST',
      `${node.url}/v1/sessions`,
      `{"id":"${id}","title":"\\u00e9\\"🙂","metadata":${metadata},"creator_principal":${creator}}`,
    )
    const listed = await call('GET', `${node.url}/v1/sessions?limit=1000`)
    const read = await call('GET', at(node.url, id))

    expect(created.json.title).to.equal('é"🙂')
    for (const { text } of [created, read, listed])
      expect(text).to.include(`"metadata":${metadata}`).and.include(`"creator_principal":${creator}`)
  })
})
