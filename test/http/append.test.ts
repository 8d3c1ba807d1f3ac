import { expect } from 'chai'
import { at, expectError, unique } from '../support/answers.ts'
import { call } from '../support/client.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/
/** An event with nothing wrong, and what a test puts over it. */
const event = (over: Record<string, unknown> = {}) => ({ type: 'content', payload: { text: 'hi' }, ...over })

describe('appending one event over HTTP', () => {
  const database = useDatabase()
  const node = useNode(database)

  async function session(): Promise<string> {
    const answer = await call('POST', `${node.url}/v1/sessions`, { id: unique() })
    return answer.json.id
  }
  const append = (id: string, body: unknown, headers = {}) =>
    call('POST', at(node.url, id, '/append'), body, headers)
  const eventsOf = async (id: string) => (await call('GET', at(node.url, id, '/events'))).json.events

  describe('is answered', () => {
    it('with 201, its seq, and how far the session is', async () => {
      const id = await session()

      const first = await append(id, event())
      const second = await append(id, event())

      expect(first.status).to.equal(201)
      expect(first.json).to.deep.equal({
        seq: 1,
        last_seq: 1,
        deduped: false,
        cursor: 1,
        committed_cursor: 1,
      })
      expect(second.json).to.deep.equal({
        seq: 2,
        last_seq: 2,
        deduped: false,
        cursor: 2,
        committed_cursor: 2,
      })
    })

    it('and is read with what was given, and nothing that was not', async () => {
      const id = await session()
      const full = event({
        actor: 'agent:drafter',
        source: 'web',
        producer_id: 'p',
        producer_seq: 7,
        idempotency_key: 'k',
        metadata: { m: 1 },
        refs: { to_seq: 0, step: 2, request_id: 'r', sequence_id: 's', free: [null] },
        expected_seq: 0,
      })
      await append(id, full)
      await append(id, event())
      await append(
        id,
        event({
          actor: null,
          source: null,
          producer_id: null,
          producer_seq: null,
          idempotency_key: null,
          metadata: null,
          refs: null,
          expected_seq: null,
          unknown: 1,
        }),
      )

      const [first, bare, nulls] = await eventsOf(id)

      const { expected_seq: _, ...stored } = full as Record<string, unknown>
      const { inserted_at, ...shown } = first
      expect(shown).to.deep.equal({ seq: 1, ...stored })
      expect(inserted_at).to.match(TIME)
      for (const event of [bare, nulls]) {
        expect(event).to.have.all.keys('seq', 'type', 'payload', 'actor', 'metadata', 'refs', 'inserted_at')
        expect(event).to.deep.include({ actor: 'anonymous', metadata: {}, refs: {} })
      }
    })

    it('in the order of seq by times that never run backwards', async () => {
      const id = await session()
      await Promise.all(Array.from({ length: 20 }, () => append(id, event())))

      const events = await eventsOf(id)

      expect(events.map((event: { seq: number }) => event.seq)).to.deep.equal(
        Array.from({ length: 20 }, (_, i) => i + 1),
      )
      const times = events.map((event: { inserted_at: string }) => event.inserted_at)
      expect(times).to.deep.equal([...times].sort())
    })

    it('with any white space and order of members in its body', async () => {
      const id = await session()

      const answer = await append(id, '\r\n{ "payload" :\t{ } , "type":"a" }\n')

      expect(answer.status, answer.text).to.equal(201)
    })

    it('for integers in decimal strings', async () => {
      const id = await session()

      const answer = await append(
        id,
        event({ producer_id: 'p', producer_seq: '3', expected_seq: '0', refs: { to_seq: '7', step: '1' } }),
      )

      expect(answer.json, answer.text).to.include({ seq: 1 })
      const [stored] = await eventsOf(id)
      expect(stored.producer_seq).to.equal(3)
      expect(stored.refs).to.deep.equal({ to_seq: '7', step: '1' })
    })

    it('for members whose null says that they were not given, in refs too', async () => {
      const id = await session()

      const answer = await append(
        id,
        event({ refs: { to_seq: null, step: null, request_id: null, sequence_id: null } }),
      )

      expect(answer.status, answer.text).to.equal(201)
    })

    for (const [what, body] of [
      ['a type of 512 characters', event({ type: '🙂'.repeat(512) })],
      ['a type of one space', event({ type: ' ' })],
      ['the largest safe producer_seq', event({ producer_id: 'p', producer_seq: Number.MAX_SAFE_INTEGER })],
      ['a producer id of 512 wide characters', event({ producer_id: '漢'.repeat(512), producer_seq: 1 })],
      [
        'SQL in every name',
        event({
          type: "'; drop table starcite.events; --",
          actor: '$1',
          source: '%s',
          idempotency_key: '\\x00',
        }),
      ],
      ['control characters in names', event({ type: 'a\nb\tc\u0001', actor: '\u007f' })],
      ['a number as a float that is an integer', '{"type":"a","payload":{},"expected_seq":0.0}'],
    ] as const)
      it(`for ${what}`, async () => {
        const id = await session()

        const answer = await append(id, body)

        expect(answer.status, answer.text).to.equal(201)
        const [stored] = await eventsOf(id)
        const sent = typeof body === 'string' ? JSON.parse(body) : body
        expect([stored.type, stored.actor]).to.deep.equal([sent.type, sent.actor ?? 'anonymous'])
      })
  })

  describe('is refused', () => {
    const with_ = (over: Record<string, unknown>) => JSON.stringify(event(over))
    for (const [body, code, field] of [
      ['{"payload":{}}', 'invalid_event', 'type'],
      [with_({ type: null }), 'invalid_event', 'type'],
      [with_({ type: '' }), 'invalid_event', 'type'],
      [with_({ type: 7 }), 'invalid_event', 'type'],
      [with_({ type: ['a'] }), 'invalid_event', 'type'],
      [with_({ type: 'x'.repeat(513) }), 'invalid_event', 'type'],
      [with_({ type: 'a\0' }), 'invalid_event', 'type'],
      ['{"type":"\\ud83d","payload":{}}', 'invalid_event', 'type'],
      ['{"type":"a"}', 'invalid_event', 'payload'],
      [with_({ payload: null }), 'invalid_event', 'payload'],
      [with_({ payload: [] }), 'invalid_event', 'payload'],
      [with_({ payload: 'text' }), 'invalid_event', 'payload'],
      [with_({ payload: 1 }), 'invalid_event', 'payload'],
      [with_({ payload: true }), 'invalid_event', 'payload'],
      [with_({ payload: { a: '\0' } }), 'invalid_event', 'payload'],
      [with_({ payload: { '\0': 1 } }), 'invalid_event', 'payload'],
      ['{"type":"a","payload":{"n":1e1000}}', 'invalid_event', 'payload'],
      [`{"type":"a","payload":{"n":${'9'.repeat(1001)}}}`, 'invalid_event', 'payload'],
      ['{"type":"a","payload":{},"payload":7}', 'invalid_event', 'payload'],
      [with_({ actor: '' }), 'invalid_event', 'actor'],
      [with_({ actor: 7 }), 'invalid_event', 'actor'],
      [with_({ actor: { id: 'a' } }), 'invalid_event', 'actor'],
      [with_({ actor: '\0' }), 'invalid_event', 'actor'],
      [with_({ source: '' }), 'invalid_event', 'source'],
      [with_({ source: 7 }), 'invalid_event', 'source'],
      [with_({ source: '\0' }), 'invalid_event', 'source'],
      [with_({ idempotency_key: '' }), 'invalid_event', 'idempotency_key'],
      [with_({ idempotency_key: 7 }), 'invalid_event', 'idempotency_key'],
      [with_({ producer_id: 'p' }), 'invalid_event', 'producer_seq'],
      [with_({ producer_id: 'p', producer_seq: null }), 'invalid_event', 'producer_seq'],
      [with_({ producer_seq: 1 }), 'invalid_event', 'producer_id'],
      [with_({ producer_id: '', producer_seq: 1 }), 'invalid_event', 'producer_id'],
      [with_({ producer_id: 7, producer_seq: 1 }), 'invalid_event', 'producer_id'],
      [with_({ producer_id: 'p', producer_seq: 0 }), 'invalid_event', 'producer_seq'],
      [with_({ producer_id: 'p', producer_seq: -1 }), 'invalid_event', 'producer_seq'],
      [with_({ producer_id: 'p', producer_seq: 1.5 }), 'invalid_event', 'producer_seq'],
      [with_({ producer_id: 'p', producer_seq: '1.5' }), 'invalid_event', 'producer_seq'],
      [with_({ producer_id: 'p', producer_seq: '' }), 'invalid_event', 'producer_seq'],
      [with_({ producer_id: 'p', producer_seq: ' 1' }), 'invalid_event', 'producer_seq'],
      [with_({ producer_id: 'p', producer_seq: '0x1' }), 'invalid_event', 'producer_seq'],
      [with_({ producer_id: 'p', producer_seq: true }), 'invalid_event', 'producer_seq'],
      [
        '{"type":"a","payload":{},"producer_id":"p","producer_seq":9007199254740992}',
        'invalid_event',
        'producer_seq',
      ],
      [
        '{"type":"a","payload":{},"producer_id":"p","producer_seq":"9223372036854775807"}',
        'invalid_event',
        'producer_seq',
      ],
      [with_({ expected_seq: -1 }), 'invalid_event', 'expected_seq'],
      [with_({ expected_seq: 0.5 }), 'invalid_event', 'expected_seq'],
      [with_({ expected_seq: 'none' }), 'invalid_event', 'expected_seq'],
      [with_({ expected_seq: [] }), 'invalid_event', 'expected_seq'],
      [with_({ metadata: [] }), 'invalid_metadata', 'metadata'],
      [with_({ metadata: 'a' }), 'invalid_metadata', 'metadata'],
      [with_({ metadata: { a: '\0' } }), 'invalid_metadata', 'metadata'],
      [with_({ refs: [] }), 'invalid_refs', 'refs'],
      [with_({ refs: 7 }), 'invalid_refs', 'refs'],
      [with_({ refs: { to_seq: -1 } }), 'invalid_refs', 'refs.to_seq'],
      [with_({ refs: { to_seq: 1.5 } }), 'invalid_refs', 'refs.to_seq'],
      [with_({ refs: { to_seq: 'x' } }), 'invalid_refs', 'refs.to_seq'],
      [with_({ refs: { step: -1 } }), 'invalid_refs', 'refs.step'],
      [with_({ refs: { step: {} } }), 'invalid_refs', 'refs.step'],
      [with_({ refs: { request_id: 7 } }), 'invalid_refs', 'refs.request_id'],
      [with_({ refs: { sequence_id: {} } }), 'invalid_refs', 'refs.sequence_id'],
      [with_({ refs: { free: '\0' } }), 'invalid_refs', 'refs'],
    ] as const)
      it(`as ${code}, ${field}: ${body.slice(0, 70)}`, async () => {
        const id = await session()

        expectError(await append(id, body), 400, code, { field })

        expect(await eventsOf(id)).to.deep.equal([])
      })

    for (const [body, code] of [
      ['', 'invalid_json'],
      ['   ', 'invalid_json'],
      ['{', 'invalid_json'],
      ['{"type":"a","payload":{}', 'invalid_json'],
      ['{"type":"a","payload":{}}x', 'invalid_json'],
      ['{"type":"a","payload":{"n":01}}', 'invalid_json'],
      ['{"type":"a","payload":{"n":1.}}', 'invalid_json'],
      ['{"type":"a","payload":{"t":"a\nb"}}', 'invalid_json'],
      ['{"type":"a","payload":{},}', 'invalid_json'],
      ['{"type":"a","payload":{"u":"\\u12"}}', 'invalid_json'],
      ['{"type":"a",/* no */"payload":{}}', 'invalid_json'],
      ['\ufeff{"type":"a","payload":{}}', 'invalid_json'],
      ['{"type":"a","payload":{}}\n{"type":"a","payload":{}}', 'invalid_json'],
      ['[]', 'invalid_event'],
      ['[{"type":"a","payload":{}}]', 'invalid_event'],
      ['null', 'invalid_event'],
      ['7', 'invalid_event'],
      ['"text"', 'invalid_event'],
    ] as const)
      it(`as ${code}: ${JSON.stringify(body.slice(0, 50))}`, async () => {
        expectError(await append(await session(), body), 400, code)
      })

    it('when the session does not exist', async () => {
      expectError(await append(unique(), event()), 404, 'session_not_found')
    })

    for (const [what, bytes] of [
      ['half a character', [0xc3]],
      ['an overlong form', [0xc0, 0x80]],
      ['a surrogate', [0xed, 0xa0, 0x80]],
      ['a byte that never stands in UTF-8', [0xff]],
      ['a character past the last', [0xf4, 0x90, 0x80, 0x80]],
    ] as const)
      it(`when its body has ${what}, which is no UTF-8`, async () => {
        const body = Buffer.concat([
          Buffer.from('{"type":"'),
          Buffer.from(bytes),
          Buffer.from('","payload":{}}'),
        ])

        expectError(await append(await session(), body), 400, 'invalid_json')
      })

    it('when its body is in UTF-16', async () => {
      const body = Buffer.from('\ufeff{"type":"a","payload":{}}', 'utf16le')

      expectError(await append(await session(), body), 400, 'invalid_json')
    })
  })

  describe('of a producer', () => {
    const from = (producer_seq: number, over: Record<string, unknown> = {}) =>
      event({ producer_id: 'p', producer_seq, ...over })

    it('may start anywhere, and goes on by one', async () => {
      const id = await session()
      expect((await append(id, from(41))).json).to.include({ seq: 1 })

      const gap = await append(id, from(43))
      const next = await append(id, from(42))

      expectError(gap, 409, 'producer_seq_conflict', { expected_producer_seq: 42 })
      expect(next.json).to.include({ seq: 2, deduped: false })
    })

    it('is taken once when it is sent twice, and the answer says where the log is now', async () => {
      const id = await session()
      await append(id, from(1))
      await append(id, event())

      const retry = await append(id, from(1))

      expect(retry.status).to.equal(201)
      expect(retry.json).to.deep.equal({ seq: 1, last_seq: 2, deduped: true, cursor: 1, committed_cursor: 2 })
      expect(await eventsOf(id)).to.have.length(2)
    })

    it('is taken once however old it is', async () => {
      const id = await session()
      for (let seq = 1; seq <= 5; seq += 1) await append(id, from(seq, { payload: { seq } }))

      expect((await append(id, from(2, { payload: { seq: 2 } }))).json).to.include({
        seq: 2,
        last_seq: 5,
        deduped: true,
      })
    })

    it('is the same in another order of keys, other white space, other escapes', async () => {
      const id = await session()
      await append(
        id,
        '{"type":"a","payload":{"x":1,"y":{"z":"é","w":2}},"producer_id":"p","producer_seq":1,"metadata":{}}',
      )

      const retry = await append(
        id,
        '{ "producer_seq":"1", "payload": {"y": {"w":2, "z":"\\u00e9"}, "x":1},"type":"a","producer_id":"p" }',
      )

      expect(retry.json, retry.text).to.include({ seq: 1, deduped: true })
    })

    for (const [what, over] of [
      ['type', { type: 'other' }],
      ['payload', { payload: { text: 'other' } }],
      [
        'the spelling of a number',
        '{"type":"content","payload":{"n":1.0},"producer_id":"p","producer_seq":1}',
      ],
      ['actor', { actor: 'other' }],
      ['source', { source: 'other' }],
      ['metadata', { metadata: { other: 1 } }],
      ['refs', { refs: { step: 1 } }],
      ['idempotency_key', { idempotency_key: 'other' }],
    ] as const)
      it(`is another event under the same number when it differs in ${what}`, async () => {
        const id = await session()
        const isText = typeof over === 'string'
        await append(id, isText ? over.replace('1.0', '1') : from(1))

        expectError(await append(id, isText ? over : from(1, over)), 409, 'producer_replay_conflict')

        expect((await append(id, from(2))).json).to.include({ seq: 2 })
      })

    it('is not mistaken for that of another producer, or of another session', async () => {
      const [one, other] = [await session(), await session()]
      await append(one, from(1))

      expect((await append(one, event({ producer_id: 'q', producer_seq: 1 }))).json).to.include({
        seq: 2,
        deduped: false,
      })
      expect((await append(other, from(1))).json).to.include({ seq: 1, deduped: false })
    })

    it('is stored once when many send it at once', async () => {
      const id = await session()

      const answers = await Promise.all(Array.from({ length: 12 }, () => append(id, from(1))))

      expect(answers.map((answer) => answer.json.seq)).to.deep.equal(Array(12).fill(1))
      expect(answers.filter((answer) => !answer.json.deduped)).to.have.length(1)
    })
  })

  describe('with an expected seq', () => {
    it('is refused anywhere else, with the seq that the session is at, and consumes nothing', async () => {
      const id = await session()
      await append(id, event())

      for (const expected_seq of [0, 2, Number.MAX_SAFE_INTEGER])
        expectError(
          await append(id, event({ expected_seq, producer_id: 'p', producer_seq: 5 })),
          409,
          'expected_seq_conflict',
          { current_seq: 1 },
        )

      expect(
        (await append(id, event({ expected_seq: 1, producer_id: 'p', producer_seq: 9 }))).json,
      ).to.include({ seq: 2 })
    })

    it('lets one of many through', async () => {
      const id = await session()

      const answers = await Promise.all(
        Array.from({ length: 10 }, () => append(id, event({ expected_seq: 0 }))),
      )

      expect(answers.map((answer) => answer.status).sort()).to.deep.equal([201, ...Array(9).fill(409)])
    })

    it('is a retry rather than a conflict when it had succeeded', async () => {
      const id = await session()
      const first = event({ producer_id: 'p', producer_seq: 1, expected_seq: 0 })
      await append(id, first)

      expect((await append(id, first)).json).to.include({ seq: 1, deduped: true })
    })

    it('is looked at after the producer', async () => {
      const id = await session()
      await append(id, event({ producer_id: 'p', producer_seq: 1 }))

      const both = await append(id, event({ producer_id: 'p', producer_seq: 7, expected_seq: 99 }))

      expectError(both, 409, 'producer_seq_conflict', { expected_producer_seq: 2 })
    })
  })
})
