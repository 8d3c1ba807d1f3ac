import { expect } from 'chai'
import { ANYONE } from '../../src/auth/principal.ts'
import { parseBatch, parseEvent } from '../../src/http/parseEvents.ts'
import { SERIALIZERS } from '../../src/http/transports/phoenix/serializer.ts'
import { processorMs } from '../support/processorTime.ts'

const MB = 1024 * 1024
const LIMITS = { eventBytes: 64 * MB, batchEvents: 1000, eventMetadataBytes: 64 * MB }

const filled = (piece: string | ((i: number) => string), bytes: number) => {
  const pieces: string[] = []
  for (let length = 0, i = 0; length < bytes; i += 1) {
    const next = typeof piece === 'string' ? piece : piece(i)
    pieces.push(next)
    length += next.length
  }
  return pieces.join('')
}
const inPayload = (piece: string | ((i: number) => string)) =>
  `{"type":"a","payload":{"a":[${filled(piece, 2 * MB)}0]}}`

describe('the events of a body', function () {
  this.timeout(60_000)

  for (const [what, text] of [
    ['empty lists', inPayload('[],')],
    ['empty objects', inPayload('{},')],
    ['lists within lists', inPayload(`${'['.repeat(400)}${']'.repeat(400)},`)],
    ['objects of one name each', inPayload((i) => `{"k${i}":0},`)],
    ['very many names', `{"type":"a","payload":{},${filled((i) => `"k${i}":0,`, 2 * MB)}"z":0}`],
    [
      'very many escaped names',
      `{"type":"a","payload":{},${filled((i) => `"\\u0061${i}":0,`, 2 * MB)}"z":0}`,
    ],
  ] as const)
    it(`are judged without being built: ${what} take less processor time than JSON.parse needs for them`, () => {
      const parse = processorMs(() => JSON.parse(text))
      const frame = `[null,"1","tail:x","append",${text}]`

      expect(processorMs(() => parseEvent(text, ANYONE, LIMITS))).to.be.below(parse)
      expect(processorMs(() => SERIALIZERS.get('2.0.0')?.decode(frame))).to.be.below(parse)
    })

  it('of a long batch are looked at in several turns of the event loop', async () => {
    const events = Array.from({ length: 7 }, () => `{"type":"a","payload":{"a":"${'x'.repeat(MB)}"}}`)
    let [turns, parsed] = [0, false]
    const count = () => {
      turns += 1
      if (!parsed) setImmediate(count)
    }
    setImmediate(count)

    const batch = await parseBatch(`{"events":[${events.join(',')}]}`, 'json', ANYONE, LIMITS)
    parsed = true

    expect(batch.length).to.equal(events.length)
    expect(turns).to.be.at.least(events.length - 1)
  })
})
