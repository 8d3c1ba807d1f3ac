import { expect } from 'chai'
import fc from 'fast-check'
import { scanElements, scanMembers } from '../../src/lib/jsonMembers.ts'
import { type JsonSpan, JsonSyntaxError, MAX_JSON_DEPTH, unstorable } from '../../src/lib/jsonScanner.ts'
import { MAX_NUMBER_CHARACTERS, unstorableString } from '../../src/lib/jsonText.ts'
import { processorMs } from '../support/processorTime.ts'

/** Strings that a scanner of JSON text stumbles over, beside arbitrary ones. */
const tricky = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({
    unit: fc.constantFrom('"', '\\', '{', '}', '[', ']', ',', ':', ' ', 'u', '0', '\n', 'é', '😀'),
  }),
  fc.constantFrom('__proto__', 'constructor', 'toString', '', '\\u0000', '\\"', '\u2028'),
)
const json = fc.jsonValue({ maxDepth: 4 })
const space = fc.stringMatching(/^[ \t\r\n]{0,3}$/)

/** The text of a value as some client would write it, with space wherever it may stand. */
function written(value: unknown, pad: string): string {
  if (Array.isArray(value))
    return `[${pad}${value.map((element) => written(element, pad)).join(`${pad},${pad}`)}${pad}]`
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).map(
      ([name, member]) => `${JSON.stringify(name)}${pad}:${pad}${written(member, pad)}`,
    )
    return `{${pad}${members.join(`${pad},${pad}`)}${pad}}`
  }
  return JSON.stringify(value)
}

const textOf = (text: string, span: JsonSpan | undefined) => span && text.slice(span.start, span.end)

describe('the scanner of JSON', () => {
  /** Text that is almost JSON: what one knows of it, cut, or with a character put in. */
  const nearly = fc
    .tuple(fc.json({ maxDepth: 4 }), fc.nat(), fc.constantFrom(...'"\\{}[],:0-.eE+tn u\u0001'))
    .map(([text, position, character]) => {
      const at = position % (text.length + 1)
      return position % 2 === 0
        ? text.slice(0, at) + text.slice(at + 1)
        : text.slice(0, at) + character + text.slice(at)
    })
  const number = fc.array(fc.constantFrom(...'01279-+.eE '), { maxLength: 8 }).map((parts) => parts.join(''))
  const string = fc
    .array(
      fc.constantFrom(
        'a',
        'b'.repeat(60),
        '\\n',
        '\\x',
        '\\',
        '"',
        '\t',
        '\\u00e9',
        '\\u00',
        '\\ud83d',
        '😀',
        '\u007f',
      ),
      { maxLength: 6 },
    )
    .map((parts) => `"${parts.join('')}"`)

  function isJson(text: string): boolean {
    try {
      JSON.parse(text)
      return true
    } catch {
      return false
    }
  }

  it('takes for JSON what JSON.parse takes for it, and nothing else', () => {
    fc.assert(
      fc.property(fc.oneof(nearly, number, string, fc.json(), fc.string()), (text) => {
        for (const scan of [scanMembers, scanElements, unstorable] as ((text: string) => unknown)[]) {
          let isTaken = true
          try {
            scan === scanMembers ? scanMembers(text, ['a']) : scan(text)
          } catch (error) {
            expect(error).to.be.instanceOf(JsonSyntaxError)
            isTaken = false
          }
          expect(isTaken, JSON.stringify(text)).to.equal(isJson(text))
        }
      }),
      { numRuns: 3000 },
    )
  })

  it('finds, under each name that is looked for, what JSON.parse finds there', () => {
    const names = ['a', 'b', 'constructor', '__proto__', 'payload']
    const name = fc.oneof(fc.constantFrom(...names, 'pay', 'payloads', ''), tricky)
    fc.assert(
      fc.property(fc.dictionary(name, fc.oneof(json, tricky)), space, space, (object, pad, outside) => {
        const text = `${outside}${written(object, pad)}${outside}`
        const parsed = JSON.parse(text) as Record<string, unknown>

        const members = scanMembers(text, names)

        for (const name of names) {
          const found = textOf(text, members?.get(name))
          if (Object.hasOwn(parsed, name)) expect(JSON.parse(found ?? '')).to.deep.equal(parsed[name])
          else expect(found).to.equal(undefined)
        }
      }),
    )
  })

  it('finds the elements of an array, and counts those that are not asked for', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(json, tricky)), space, space, (array, pad, outside) => {
        const text = `${outside}${written(array, pad)}${outside}`

        const all = scanElements(text)
        const some = scanElements(text, 1)

        expect(all?.spans.map((span) => JSON.parse(textOf(text, span) as string))).to.deep.equal(
          JSON.parse(text),
        )
        expect([some?.count, some?.spans.length]).to.deep.equal([array.length, Math.min(1, array.length)])
      }),
    )
  })

  it('keeps numbers, escapes and white space inside a value to the letter', () => {
    const text = String.raw`{"a" : 1.0,"b":[ 1e2 , 12345678901234567890 ],"c":"\u00e9\/","d":{"y":1, "x":2}}`
    const members = scanMembers(text, ['a', 'b', 'c', 'd'])

    expect(['a', 'b', 'c', 'd'].map((name) => textOf(text, members?.get(name)))).to.deep.equal([
      '1.0',
      '[ 1e2 , 12345678901234567890 ]',
      String.raw`"\u00e9\/"`,
      '{"y":1, "x":2}',
    ])
  })

  it('takes the last of a repeated name, however the name is written', () => {
    const text = String.raw`{"a":1,"\u0061":2}`

    expect(textOf(text, scanMembers(text, ['a'])?.get('a'))).to.equal('2')
  })

  it('stops at the levels that may be nested, counted with those outside', () => {
    const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)

    for (const [text, outside, isTaken] of [
      [nested(MAX_JSON_DEPTH), 0, true],
      [nested(MAX_JSON_DEPTH + 1), 0, false],
      [nested(MAX_JSON_DEPTH + 1), -1, true],
      [nested(MAX_JSON_DEPTH), 1, false],
      ['['.repeat(8_000_000), 0, false],
    ] as const) {
      const scan = () => scanElements(text, 1, { outside })
      if (isTaken) expect(scan()?.count).to.equal(1)
      else expect(scan).to.throw(JsonSyntaxError, 'nested deeper')
    }
  })
})

describe('what cannot be kept', () => {
  /** By walking the parsed value: U+0000 or half a surrogate pair in any string or name. */
  function holdsBadText(value: unknown): boolean {
    if (typeof value === 'string') return value.includes('\0') || !value.isWellFormed()
    if (typeof value !== 'object' || value === null) return false
    return Object.entries(value).some(([name, member]) => holdsBadText(name) || holdsBadText(member))
  }

  const piece = fc.constantFrom(
    String.raw`\u0000`,
    String.raw`\ud83d`,
    String.raw`\uDE00`,
    String.raw`\ud83d\ude00`,
    String.raw`\\u0000`,
    String.raw`\\`,
    String.raw`\"`,
    String.raw`\n`,
    String.raw`\u00e9`,
    'u0000',
    'ud83d',
    'a',
    '😀',
  )
  const escaped = fc.array(piece, { maxLength: 6 }).map((pieces) => `"${pieces.join('')}"`)

  it('is found in exactly the texts whose strings or names hold U+0000 or half a pair', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(escaped, escaped), { maxLength: 3 }), (members) => {
        const text = `{${members.map(([name, value]) => `${name}:${value}`).join(',')}}`
        // A repeated name hides a value from JSON.parse but not from storage: look at each member alone.
        const isBad = members.some(([name, value]) => holdsBadText(JSON.parse(`{${name}:${value}}`)))

        expect(unstorable(text) !== undefined, text).to.equal(isBad)
        const holdsNul = members.some((member) => member.some((string) => JSON.parse(string).includes('\0')))
        expect(unstorable(text, 'kept') !== undefined, text).to.equal(holdsNul)
      }),
      { numRuns: 1000 },
    )
  })

  it('is no raw text that Postgres holds: every well-formed string, written as JSON.stringify writes it', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (value) => {
        const bad = value.includes('\0') || !value.isWellFormed()

        expect(unstorable(JSON.stringify({ value })) !== undefined).to.equal(bad)
        expect(unstorableString(value) !== undefined).to.equal(bad)
      }),
    )
  })

  const digits = (count: number) => '7'.repeat(count)
  for (const [what, text, kept] of [
    ['a long number', digits(MAX_NUMBER_CHARACTERS), true],
    ['a longer one', digits(MAX_NUMBER_CHARACTERS + 1), false],
    ['a long fraction', `0.${digits(MAX_NUMBER_CHARACTERS - 2)}`, true],
    ['a longer fraction', `-0.${digits(MAX_NUMBER_CHARACTERS)}`, false],
    ['a large exponent', '1e999', true],
    ['a small exponent', '1.5E-999', true],
    ['an exponent of leading zeros', '1e+0000999', true],
    ['a larger exponent', '1e1000', false],
    ['a huge exponent', '[{"a":-1.25E+999999999}]', false],
    ['digits in a string', `"${digits(5000)}"`, true],
    ['an exponent in a string', '["1e99999",1]', true],
    ['a number after digits in a string', `["${digits(5000)}",1e99999]`, false],
    ['a number after an escaped quote', '["\\"1e99999",1]', true],
  ] as const)
    it(`${kept ? 'lets' : 'refuses'} ${what}`, () => {
      expect(unstorable(text) === undefined).to.equal(kept)
    })

  it('is found in time that grows with the text alone: long numbers take no longer than short ones', () => {
    const long = `[${Array.from({ length: 1000 }, () => digits(MAX_NUMBER_CHARACTERS - 1)).join(',')}]`
    const short = `[${Array.from({ length: long.length / 11 }, () => digits(10)).join(',')}]`

    // A scan that starts over at each digit takes hundreds of times as long.
    expect(processorMs(() => unstorable(long))).to.be.below(20 * processorMs(() => unstorable(short)))
  })
})
