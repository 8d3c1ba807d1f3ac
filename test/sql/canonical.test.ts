import { expect } from 'chai'
import { useConnection, useDatabase } from '../support/useNode.ts'

const MOST = 1_000_000
/** Enough of them for more zeros than are written out. */
const many = (number: string, rest = '0') => `[${`${number},`.repeat(1100)}${rest}]`

describe('the canonical text of a value', () => {
  const database = useDatabase()
  const db = useConnection(database)

  const canonical = async (json: string): Promise<string> =>
    (await db.query('select starcite.canonical($1) as text', [json])).rows[0].text

  const EQUAL: readonly (readonly [string, string])[] = [
    ['{"a":1,"b":[2]}', ' { "b" : [ 2 ], "a" : 1 } '],
    ['"\\u0061"', '"a"'],
    ['1e1', '10'],
    ['1.50e1', '15.0'],
    ['{"a":1,"a":2}', '{"a":2}'],
    ['1e999', '10E+0998'],
    ['1e999', `1${'0'.repeat(999)}`],
    [many('1e999'), many('10E+0998')],
    [many('1e999'), many(`1${'0'.repeat(999)}`)],
    [many('1e-999'), many(`0.${'0'.repeat(998)}1`)],
    [many('0e-999'), many(`0.${'0'.repeat(999)}`)],
    [many('1e999', '{"b":"1e9","a":"\\u0022,1e7"}'), many('1e999', '{ "a": "\\",1e7", "b": "1e9" }')],
    [many('1e999', '"\\ud83d\\u0061"'), many('1e999', '"\\ud83da"')],
  ]
  const DIFFERENT: readonly (readonly [string, string])[] = [
    ['1', '1.0'],
    ['1e2', '100.0'],
    ['"1"', '1'],
    ['1e999', '1e998'],
    [many('1e999'), many('1e998')],
    [many('1e999'), many('-1e999')],
    [many('1e999', '1'), many('1e999', '1.0')],
    [many('1e999', '"1e9"'), many('1e999', '"1e8"')],
    [many('1e999', '"a\\"#b"'), many('1e999', '"a\\"b"')],
    [many('1e999', '["0"]'), many('1e999', '[0]')],
    [many('1e999', '[[0],0]'), many('1e999', '[0,[0]]')],
    [many('1e999', '{"a":1,"b":2}'), many('1e999', '{"a":2,"b":1}')],
    [many('1e999', '"\\ud83d"'), many('1e999', '"\\ude00"')],
  ]

  const shortened = (json: string) => (json.length > 60 ? `${json.slice(0, 20)} … ${json.slice(-30)}` : json)

  for (const [a, b] of EQUAL)
    it(`is the same for ${shortened(a)} and ${shortened(b)}`, async () => {
      expect((await canonical(a)) === (await canonical(b))).to.equal(true)
    })

  for (const [a, b] of DIFFERENT)
    it(`differs for ${shortened(a)} and ${shortened(b)}`, async () => {
      expect((await canonical(a)) === (await canonical(b))).to.equal(false)
    })

  it('is never much longer than the value: numbers are not written out', async () => {
    for (const number of ['1e999', '-7.25e-999', '3e40', '1e29', '1e9']) {
      const value = `[${Array(Math.floor(MOST / (number.length + 1))).fill(number)}]`
      const { length } = await canonical(value)

      expect(length, number).to.be.below(7 * MOST)
    }
  })

  it('is the one that digests of producers were made of before, for what people write', async () => {
    const values = ['{}', '{"a":[1e3,1.5E-7,1.0,1e308,"\\ud83d"]}', `[${'1e300,'.repeat(900)}0]`, '"x"']
    for (const value of values) {
      const { rows } = await db.query(
        'select starcite.canonical($1) as now, starcite.comparable($1)::text as before',
        [value],
      )
      expect(rows[0].now).to.equal(rows[0].before)
    }
  })
})
