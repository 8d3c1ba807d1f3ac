import { expect } from 'chai'
import fc from 'fast-check'
import { encodingsOf } from '../../src/http/transports/encodings.ts'
import { renderEvent, type StoredEvent } from '../../src/protocol/event.ts'

const text = fc.string({ unit: 'grapheme', minLength: 1 })
const object = fc
  .dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue())
  .map((object) => JSON.stringify(object))
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
      fc.property(event, (event) => {
        const rendered = renderEvent(event)

        expect(rendered.seq).to.equal(event.seq)
        expect(encodingsOf(rendered).bytes.toString()).to.equal(rendered.text)
        for (const kept of [event.payload, event.metadata, event.refs]) expect(rendered.text).to.include(kept)
        expect(JSON.parse(rendered.text)).to.deep.equal({
          seq: event.seq,
          type: event.type,
          payload: JSON.parse(event.payload),
          actor: event.actor,
          ...(event.subject === null ? {} : { subject: event.subject }),
          ...(event.source === null ? {} : { source: event.source }),
          ...(event.producerId === null
            ? {}
            : { producer_id: event.producerId, producer_seq: event.producerSeq }),
          ...(event.idempotencyKey === null ? {} : { idempotency_key: event.idempotencyKey }),
          metadata: JSON.parse(event.metadata),
          refs: JSON.parse(event.refs),
          inserted_at: event.insertedAt,
        })
      }),
    )
  })
})
