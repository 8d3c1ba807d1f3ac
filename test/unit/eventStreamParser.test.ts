import { expect } from 'chai'
import fc from 'fast-check'
import { EventStreamParser } from '../../src/client/tail/eventStreamParser.ts'

const STREAM = [
  'retry: 1000\n',
  ':\n',
  'id: 1\ndata: {"a":1}\n\n',
  'id: 2\r\ndata: {"b":\r\ndata: 2}\r\n\r\n',
  'event: other\rid:3\rdata:x\r\r',
  'data\n\n',
  'id: 4\n\n',
  'id: 5\ndata: never told',
].join('')

/** What ends a line for Unicode, and for many a library, but not in an event stream. */
const ONLY_IN_UNICODE = '\u2028\u2029\u0085\u000b\u000c'

describe('the reader of event streams', () => {
  it('reads the same events however the text is cut', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: STREAM.length })), (cuts) => {
        const at = [...new Set([0, ...cuts, STREAM.length])].sort((a, b) => a - b)
        const parser = new EventStreamParser()
        const events = at.slice(1).flatMap((end, i) => parser.push(STREAM.slice(at[i], end)))

        expect(events).to.deep.equal([
          { id: '1', data: '{"a":1}' },
          { id: '2', data: '{"b":\n2}' },
          { id: '3', data: 'x', name: 'other' },
          { id: '3', data: '' },
        ])
        expect(parser.lastId).to.equal('4')
      }),
    )
  })

  it('ends lines at \\n and \\r alone, not at other line ends of Unicode', () => {
    const data = JSON.stringify({ text: `a${ONLY_IN_UNICODE}b` })

    const events = new EventStreamParser().push(`id: 1\ndata: ${data}\n\n`)

    expect(events).to.deep.equal([{ id: '1', data }])
  })
})
