import { expect } from 'chai'
import fc from 'fast-check'
import { encodingsOf } from '../../src/http/transports/encodings.ts'
import { renderEvent, type StoredEvent } from '../../src/protocol/event.ts'

const text = fc.string({ unit: 'grapheme', minLength: 1 })
const object = fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue()).map((it) => JSON.stringify(it))
const event: fc.Arbitrary<StoredEvent> = fc
  .record({
    seq: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    type: text,
    payload: object,
    actor: text,
    subject: fc.option(text),
    source: fc.option(text),
    producer: fc.option(fc.record({ id: text, seq: fc.integer({ min: 1 }) })),
    idempotencyKey: fc.option(text),
    metadata: object,
    refs: object,
  })
  .map(({ producer, ...rest }) => ({
    ...rest,
    producerId: producer?.id ?? null,
    producerSeq: producer?.seq ?? null,
    insertedAt: '2026-11-23T14:25:25.410000Z',
  }))

describe('a rendered event', () => {
  it('is JSON that says what the event says, with nothing null and every text to the letter', () => {
    fc.assert(
      fc.property(event, (it) => {
        const rendered = renderEvent(it)

        expect(rendered.seq).to.equal(it.seq)
        expect(encodingsOf(rendered).bytes.toString()).to.equal(rendered.text)
        for (const kept of [it.payload, it.metadata, it.refs]) expect(rendered.text).to.include(kept)
        expect(JSON.parse(rendered.text)).to.deep.equal({
          seq: it.seq,
          type: it.type,
          payload: JSON.parse(it.payload),
          actor: it.actor,
          ...(it.subject === null ? {} : { subject: it.subject }),
          ...(it.source === null ? {} : { source: it.source }),
          ...(it.producerId === null ? {} : { producer_id: it.producerId, producer_seq: it.producerSeq }),
          ...(it.idempotencyKey === null ? {} : { idempotency_key: it.idempotencyKey }),
          metadata: JSON.parse(it.metadata),
          refs: JSON.parse(it.refs),
          inserted_at: it.insertedAt,
        })
      }),
    )
  })
})
