import { expect } from 'chai'
import { at, expectError, unique } from '../support/answers.ts'
import { call } from '../support/client.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

const NDJSON = { 'content-type': 'application/x-ndjson' }
const event = (n: number, over: Record<string, unknown> = {}) => ({ type: 'n', payload: { n }, ...over })
const from = (producer_seq: number, over: Record<string, unknown> = {}) =>
  event(producer_seq, { producer_id: 'p', producer_seq, ...over })

describe('appending many events over HTTP', () => {
  const database = useDatabase()
  const node = useNode(database, { STARCITE_MAX_BATCH_BYTES: '512KB', STARCITE_MAX_EVENT_BYTES: '64KB' })

  async function session(): Promise<string> {
    return (await call('POST', `${node.url}/v1/sessions`, { id: unique() })).json.id
  }
  const post = (id: string, body: unknown, headers = {}) =>
    call('POST', at(node.url, id, '/events'), body, headers)
  const batch = (id: string, events: readonly unknown[], over = {}) => post(id, { events, ...over })
  const stored = async (id: string) => (await call('GET', at(node.url, id, '/events?limit=1000'))).json.events
  const lastSeq = async (id: string) => (await call('GET', at(node.url, id))).json.last_seq

  it('answers 201 with a result for each, in order', async () => {
    const id = await session()

    const answer = await batch(id, [event(1), event(2), event(3)])

    expect(answer.status).to.equal(201)
    expect(answer.json).to.deep.equal({
      results: [1, 2, 3].map((seq) => ({ seq, deduped: false })),
      last_seq: 3,
      cursor: 3,
      committed_cursor: 3,
    })
    expect((await stored(id)).map((event: { payload: { n: number } }) => event.payload.n)).to.deep.equal([
      1, 2, 3,
    ])
  })

  for (const [what, body] of [
    ['a line each', '{"type":"a","payload":{}}\n{"type":"b","payload":{}}'],
    ['a line end after the last', '{"type":"a","payload":{}}\n{"type":"b","payload":{}}\n'],
    ['carriage returns', '{"type":"a","payload":{}}\r\n{"type":"b","payload":{}}\r\n'],
    ['empty lines between', '\n{"type":"a","payload":{}}\n\n  \n{"type":"b","payload":{}}\n\n'],
  ] as const)
    it(`takes NDJSON with ${what}`, async () => {
      const id = await session()

      const answer = await post(id, body, NDJSON)

      expect(answer.json, answer.text).to.include({ last_seq: 2 })
      expect((await stored(id)).map((event: { type: string }) => event.type)).to.deep.equal(['a', 'b'])
    })

  for (const type of [
    'application/x-ndjson',
    'application/ndjson',
    'application/x-ndjson; charset=utf-8',
    'application/jsonl',
  ])
    it(`takes ${type} for NDJSON`, async () => {
      const answer = await post(await session(), '{"type":"a","payload":{}}', { 'content-type': type })

      expect(answer.status, answer.text).to.equal(201)
    })

  it('takes 1,000 events, and no more', async () => {
    const id = await session()
    const events = Array.from({ length: 1000 }, (_, i) => event(i))

    expectError(await batch(id, [...events, event(1000)]), 400, 'invalid_event', {
      field: 'events',
      max_events: 1000,
    })
    expectError(
      await post(id, [...events, event(1000)].map((event) => JSON.stringify(event)).join('\n'), NDJSON),
      400,
      'invalid_event',
      { field: 'events' },
    )
    expect((await batch(id, events)).json).to.include({ last_seq: 1000 })
  })

  it('takes an event as large as a single append may be, and none that is larger, in either form', async () => {
    const id = await session()
    const large = (bytes: number) => {
      const text = JSON.stringify(event(1, { payload: { text: '' } }))
      return text.replace('""', `"${'x'.repeat(bytes - text.length)}"`)
    }
    const max = 64 * 1024

    expect((await batch(id, [event(0)])).status).to.equal(201)
    for (const body of [(text: string) => `{"events":[${JSON.stringify(event(0))}, ${text} ]}`, undefined]) {
      const send = (text: string) =>
        body
          ? call('POST', at(node.url, id, '/events'), body(text))
          : post(id, `${JSON.stringify(event(0))}\n${text}\n`, NDJSON)

      expect((await send(large(max))).status).to.equal(201)
      expectError(await send(large(max + 1)), 413, 'body_too_large', { max_bytes: max, index: 1 })
    }
    const tooLarge = await batch(id, [event(1, { payload: { text: 'x'.repeat(512 * 1024) } })])
    expectError(tooLarge, 413, 'body_too_large', { max_bytes: 512 * 1024 })
    expect(tooLarge.json).not.to.have.property('index')
  })

  describe('is all or nothing', () => {
    const events = (bad: unknown, index: number) =>
      [event(0), event(1), event(2)].map((event, i) => (i === index ? bad : event))

    for (const [what, bad, code, field] of [
      ['without a type', { payload: {} }, 'invalid_event', 'type'],
      ['with a payload that is a list', { type: 'a', payload: [] }, 'invalid_event', 'payload'],
      ['with bad metadata', event(0, { metadata: 7 }), 'invalid_metadata', 'metadata'],
      ['with bad refs', event(0, { refs: { step: 'x' } }), 'invalid_refs', 'refs.step'],
      ['with U+0000', event(0, { payload: { a: '\0' } }), 'invalid_event', 'payload'],
      ['with half a producer', event(0, { producer_id: 'p' }), 'invalid_event', 'producer_seq'],
      ['that is a number', 7, 'invalid_event', undefined],
      ['that is null', null, 'invalid_event', undefined],
      ['that is a list', [], 'invalid_event', undefined],
    ] as const)
      for (const index of [0, 2])
        it(`with an event ${what} at ${index}`, async () => {
          const id = await session()
          const wrong = events(bad, index)

          const json = await batch(id, wrong)
          const ndjson = await post(id, wrong.map((event) => JSON.stringify(event)).join('\n'), NDJSON)

          for (const answer of [json, ndjson])
            expectError(answer, 400, code, { index, ...(field && { field }) })
          expect(await lastSeq(id)).to.equal(0)
        })

    it('with a line that is no JSON, whose index counts events, not lines', async () => {
      const id = await session()

      const answer = await post(id, '\n{"type":"a","payload":{}}\n\n{"type":', NDJSON)

      expectError(answer, 400, 'invalid_json', { index: 1 })
      expect(await lastSeq(id)).to.equal(0)
    })

    it('with an expected seq that does not match; told is the one that would have, at its place', async () => {
      const id = await session()
      await batch(id, [event(1)])

      expectError(await batch(id, [event(2), event(3)], { expected_seq: 0 }), 409, 'expected_seq_conflict', {
        current_seq: 1,
        index: 0,
      })
      expectError(await batch(id, [event(2), event(3, { expected_seq: 1 })]), 409, 'expected_seq_conflict', {
        current_seq: 2,
        index: 1,
      })
      expect(await lastSeq(id)).to.equal(1)
      expect((await batch(id, [event(2), event(3)], { expected_seq: '1' })).json).to.include({ last_seq: 3 })
    })

    it('with a producer out of turn at its end', async () => {
      const id = await session()

      expectError(await batch(id, [from(1), from(2), from(4)]), 409, 'producer_seq_conflict', {
        expected_producer_seq: 3,
        index: 2,
      })

      expect(await lastSeq(id)).to.equal(0)
      expect((await batch(id, [from(1), from(2), from(3)])).json).to.include({ last_seq: 3 })
    })

    it('with a used producer seq for another event', async () => {
      const id = await session()
      await batch(id, [from(1)])

      expectError(
        await batch(id, [event(9), from(1, { payload: { other: 1 } })]),
        409,
        'producer_replay_conflict',
        { index: 1 },
      )

      expect(await lastSeq(id)).to.equal(1)
    })

    it('even when it is only one: the index is named all the same', async () => {
      const id = await session()

      expectError(await batch(id, [event(1, { expected_seq: 5 })]), 409, 'expected_seq_conflict', {
        current_seq: 0,
        index: 0,
      })
      expectError(await batch(id, [{}]), 400, 'invalid_event', { index: 0 })
    })
  })

  describe('sent again', () => {
    it('dedupes as a whole', async () => {
      const id = await session()
      const events = [from(1), from(2), from(3)]
      await batch(id, events, { expected_seq: 0 })
      await batch(id, [event(9)])

      const again = await batch(id, events, { expected_seq: 0 })

      expect(again.json).to.deep.equal({
        results: [1, 2, 3].map((seq) => ({ seq, deduped: true })),
        last_seq: 4,
        cursor: 3,
        committed_cursor: 4,
      })
    })

    it('goes on where it had come to', async () => {
      const id = await session()
      await batch(id, [from(1), from(2)])

      const more = await batch(id, [from(1), from(2), from(3)])

      expect(more.json.results).to.deep.equal([
        { seq: 1, deduped: true },
        { seq: 2, deduped: true },
        { seq: 3, deduped: false },
      ])
    })

    it('by many at once is stored once', async () => {
      const id = await session()
      const events = [from(1), from(2), from(3)]

      const answers = await Promise.all(Array.from({ length: 8 }, () => batch(id, events)))

      expect(answers.map((answer) => answer.status)).to.deep.equal(Array(8).fill(201))
      expect(await lastSeq(id)).to.equal(3)
    })
  })

  describe('is refused', () => {
    for (const [body, field] of [
      ['{}', 'events'],
      ['{"events":null}', 'events'],
      ['{"events":[]}', 'events'],
      ['{"events":{}}', 'events'],
      ['{"events":"a"}', 'events'],
      ['{"events":[{"type":"a","payload":{}}],"expected_seq":-1}', 'expected_seq'],
      ['{"events":[{"type":"a","payload":{}}],"expected_seq":"x"}', 'expected_seq'],
    ] as const)
      it(`as invalid_event, ${field}: ${body}`, async () => {
        expectError(await post(await session(), body), 400, 'invalid_event', { field })
      })

    for (const [body, code] of [
      ['', 'invalid_json'],
      ['[', 'invalid_json'],
      ['[{"type":"a","payload":{}}]', 'invalid_event'],
      ['{"type":"a","payload":{}}\n{"type":"b","payload":{}}', 'invalid_json'],
    ] as const)
      it(`as ${code}: ${JSON.stringify(body)}`, async () => {
        expectError(await post(await session(), body), 400, code)
      })

    for (const body of ['', '\n\n', ' \r\n'])
      it(`as invalid_event, an NDJSON body without an event: ${JSON.stringify(body)}`, async () => {
        expectError(await post(await session(), body, NDJSON), 400, 'invalid_event', { field: 'events' })
      })

    it('when the session does not exist', async () => {
      expectError(await batch(unique(), [event(1), event(2)]), 404, 'session_not_found')
    })
  })
})
