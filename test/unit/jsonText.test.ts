import { expect } from 'chai'
import fc from 'fast-check'
import {
  elementTexts,
  isDeeperThan,
  MAX_NUMBER_CHARACTERS,
  memberTexts,
  unstorable,
  unstorableString,
} from '../../src/lib/jsonText.ts'

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
    return `[${pad}${value.map((it) => written(it, pad)).join(`${pad},${pad}`)}${pad}]`
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).map(
      ([name, it]) => `${JSON.stringify(name)}${pad}:${pad}${written(it, pad)}`,
    )
    return `{${pad}${members.join(`${pad},${pad}`)}${pad}}`
  }
  return JSON.stringify(value)
}

describe('the text of members', () => {
  it('is, parsed, what JSON.parse finds under the name', () => {
    fc.assert(
      fc.property(fc.dictionary(tricky, fc.oneof(json, tricky)), space, space, (object, pad, outside) => {
        const text = `${outside}${written(object, pad)}${outside}`
        const parsed = JSON.parse(text) as Record<string, unknown>

        const members = memberTexts(text)

        expect([...members.keys()].sort()).to.deep.equal(Object.keys(parsed).sort())
        for (const [name, member] of members) {
          expect(member).to.equal(member.trim())
          expect(JSON.parse(member)).to.deep.equal(parsed[name])
          expect(text).to.include(member)
        }
      }),
    )
  })

  it('keeps numbers, escapes and white space inside a value to the letter', () => {
    const text = String.raw`{"a" : 1.0,"b":[ 1e2 , 12345678901234567890 ],"c":"\u00e9\/","d":{"y":1, "x":2}}`

    expect([...memberTexts(text)]).to.deep.equal([
      ['a', '1.0'],
      ['b', '[ 1e2 , 12345678901234567890 ]'],
      ['c', String.raw`"\u00e9\/"`],
      ['d', '{"y":1, "x":2}'],
    ])
  })

  it('of a repeated name is the last one, however the name is written', () => {
    expect(memberTexts(String.raw`{"a":1,"\u0061":2}`).get('a')).to.equal('2')
  })

  it('knows names that every object inherits', () => {
    expect([...memberTexts('{"__proto__":1,"constructor":2}').keys()]).to.deep.equal([
      '__proto__',
      'constructor',
    ])
    expect([...memberTexts('{}').keys()]).to.deep.equal([])
  })
})

describe('the texts of elements', () => {
  it('are, parsed, what JSON.parse finds in the array', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(json, tricky)), space, space, (array, pad, outside) => {
        const text = `${outside}${written(array, pad)}${outside}`

        const elements = elementTexts(text)

        expect(elements.map((it) => JSON.parse(it))).to.deep.equal(JSON.parse(text))
        for (const element of elements) expect(element).to.equal(element.trim())
      }),
    )
  })
})

describe('the depth of JSON text', () => {
  const depthOf = (value: unknown): number =>
    typeof value === 'object' && value !== null
      ? 1 + Math.max(0, ...Object.values(value).map((it) => depthOf(it)))
      : 0

  it('is counted in brackets, not in brackets inside strings', () => {
    fc.assert(
      fc.property(fc.oneof(json, fc.array(tricky)), (value) => {
        const depth = depthOf(value)
        const text = JSON.stringify(value)

        expect(isDeeperThan(text, depth)).to.equal(false)
        if (depth > 0) expect(isDeeperThan(text, depth - 1)).to.equal(true)
      }),
    )
  })

  it('is answered for text that is no JSON, too', () => {
    expect(isDeeperThan('['.repeat(3), 2)).to.equal(true)
    for (const text of ['', '"', '"\\', ']]]]', '"[[[[', '{"a":"\\"[[['])
      expect(isDeeperThan(text, 2)).to.equal(false)
  })
})

describe('what cannot be kept', () => {
  /** By walking the parsed value: U+0000 or half a surrogate pair in any string or name. */
  function holdsBadText(value: unknown): boolean {
    if (typeof value === 'string') return value.includes('\0') || !value.isWellFormed()
    if (typeof value !== 'object' || value === null) return false
    return Object.entries(value).some(([name, it]) => holdsBadText(name) || holdsBadText(it))
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
        const holdsNul = members.some((it) => it.some((string) => JSON.parse(string).includes('\0')))
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

  it('is found in time that grows with the text alone, digits included', () => {
    const perMegabyte = (text: string) => {
      const started = performance.now()
      unstorable(text)
      return performance.now() - started
    }
    const hard = `[${Array.from({ length: 1000 }, () => digits(MAX_NUMBER_CHARACTERS - 1)).join(',')}]`

    // A scan that starts over at each digit takes about two seconds for this megabyte; one pass takes milliseconds.
    expect(perMegabyte(hard)).to.be.below(500)
  })
})
