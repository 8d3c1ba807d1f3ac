import { expect } from 'chai'
import fc from 'fast-check'
import { SERIALIZERS, type Serializer } from '../../src/http/transports/phoenix/serializer.ts'

const [V1, V2] = [SERIALIZERS.get('1.0.0') as Serializer, SERIALIZERS.get('2.0.0') as Serializer]
const refs = fc.oneof(fc.constant(null), fc.string({ maxLength: 8 }), fc.nat())
const frames = fc.record({
  joinRef: refs,
  ref: refs,
  topic: fc.string(),
  event: fc.string(),
  payload: fc.json().map((text) => JSON.parse(text)),
  space: fc.constantFrom('', ' ', '\n', '\r\n\t'),
})

/** Chance may write a frame. */
function isArrayWithNames(text: string): boolean {
  try {
    const value = JSON.parse(text)
    return Array.isArray(value) && typeof value[2] === 'string' && typeof value[3] === 'string'
  } catch {
    return false
  }
}

describe('the framing of Phoenix', () => {
  it('hands back what was framed, in either version, with refs and payload to the letter', () => {
    fc.assert(
      fc.property(frames, ({ joinRef, ref, topic, event, payload, space }) => {
        const texts = [joinRef, ref, topic, event, payload].map((member) => JSON.stringify(member))
        const [joinRefText, refText, topicText, eventText, payloadText] = texts
        const expected = { joinRef: joinRefText, ref: refText, topic, event, payloadText }

        const array = `${space}[${texts.map((text) => `${space}${text}${space}`).join(',')}]${space}`
        const object = `{"payload"${space}:${space}${payloadText},"ref":${refText},"x":[{"payload":1}],"topic":${topicText},"join_ref":${joinRefText}${space},"event":${eventText}}`

        expect(V2.decode(array)).to.deep.equal(expected)
        expect(V1.decode(object)).to.deep.equal(expected)
      }),
    )
  })

  it('takes no text for a frame that is none, and throws at nothing', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        fc.pre(!isArrayWithNames(text))
        expect(V2.decode(text)).to.equal(undefined)
        expect(V1.decode(text)).to.equal(undefined)
      }),
    )
  })

  it('frames as Phoenix does', () => {
    expect(V2.encode('"1"', 'null', '"tail:x"', 'events', '{"a":1.0}')).to.equal(
      '["1",null,"tail:x","events",{"a":1.0}]',
    )
    expect(V1.encode('"1"', 'null', '"tail:x"', 'events', '{"a":1.0}')).to.equal(
      '{"topic":"tail:x","event":"events","payload":{"a":1.0},"ref":null}',
    )
  })
})
