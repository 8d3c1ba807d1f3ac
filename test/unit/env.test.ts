import { expect } from 'chai'
import fc from 'fast-check'
import { EnvReader } from '../../src/lib/env.ts'

/** Reads one variable, and says what is wrong with it. */
function reading<T>(
  value: string | undefined,
  read: (reader: EnvReader) => T,
): { value: T; problems: string[] } {
  const reader = new EnvReader({ IT: value })
  return { value: read(reader), problems: reader.problems }
}

const port = (value?: string) =>
  reading(value, (reader) => reader.int('IT', { default: 4000, min: 0, max: 65_535 }))
const size = (value?: string) =>
  reading(value, (reader) => reader.size('IT', { default: '4MB', min: '1KB', max: '1GB' }))
const time = (value?: string) =>
  reading(value, (reader) => reader.duration('IT', { default: '5s', min: '1ms', max: '30d' }))

describe('reading the environment', () => {
  for (const [text, expected] of [
    [undefined, 4000],
    ['', 4000],
    ['  ', 4000],
    ['0', 0],
    [' 8080 ', 8080],
    ['65535', 65_535],
    ['0080', 80],
  ] as const)
    it(`takes ${JSON.stringify(text)} for the port ${expected}`, () => {
      expect(port(text)).to.deep.equal({ value: expected, problems: [] })
    })

  for (const text of [
    'abc',
    '-1',
    '65536',
    '80.5',
    '1e3',
    '0x50',
    '80 90',
    '９',
    'Infinity',
    '9'.repeat(400),
  ])
    it(`refuses the port ${text.slice(0, 12)}, and names variable, range and value`, () => {
      expect(port(text).problems).to.deep.equal([
        `IT must be an integer from 0 to 65535; it is ${JSON.stringify(text)}`,
      ])
    })

  for (const [text, bytes] of [
    [undefined, 4 * 1024 ** 2],
    ['1024', 1024],
    ['2048B', 2048],
    ['512MB', 512 * 1024 ** 2],
    ['1.5kb', 1536],
    ['1 GB', 1024 ** 3],
  ] as const)
    it(`takes ${text ?? 'nothing'} for ${bytes} bytes`, () => {
      expect(size(text)).to.deep.equal({ value: bytes, problems: [] })
    })

  for (const text of ['1023', '1.1GB', '-5MB', '5TB', 'MB', '5 5MB', '1e3MB', '0x10', '5MB!'])
    it(`refuses the size ${text}`, () => {
      expect(size(text).problems).to.deep.equal([
        `IT must be a size from 1KB to 1GB, such as 4MB; it is ${JSON.stringify(text)}`,
      ])
    })

  for (const [text, ms] of [
    [undefined, 5000],
    ['250ms', 250],
    ['1.5s', 1500],
    ['2M', 120_000],
    ['6h', 21_600_000],
    ['30d', 2_592_000_000],
  ] as const)
    it(`takes ${text ?? 'nothing'} for ${ms} milliseconds`, () => {
      expect(time(text)).to.deep.equal({ value: ms, problems: [] })
    })

  for (const text of ['5', '0ms', '31d', '5 weeks', '-1s', 's'])
    it(`refuses the time ${text}`, () => {
      expect(time(text).problems).to.have.length(1)
    })

  it('takes flags in the usual words', () => {
    const flag = (value: string) => reading(value, (reader) => reader.flag('IT', false))

    for (const text of ['true', 'TRUE', '1', 'yes', 'on'])
      expect(flag(text)).to.deep.equal({ value: true, problems: [] })
    for (const text of ['false', '0', 'no', 'Off'])
      expect(flag(text)).to.deep.equal({ value: false, problems: [] })
    expect(flag('maybe').problems).to.deep.equal(['IT must be true or false; it is "maybe"'])
  })

  it('takes the first of several names that is set', () => {
    const reader = new EnvReader({ A: '', B: 'postgres://b/db', C: 'postgres://c/db' })

    expect(reader.postgresUrl('A', 'B', 'C')).to.equal('postgres://b/db')
    expect(reader.postgresUrl('A', 'C')).to.equal('postgres://c/db')
    expect(reader.postgresUrl('A')).to.equal(undefined)
    expect(reader.problems).to.deep.equal([])
  })

  it('never repeats a database URL that is wrong: it may hold a password', () => {
    for (const url of [
      'mysql://user:hunter2@db/x',
      'user:hunter2@db',
      'postgres://user:hunter2@db:port/x',
      'hunter2',
    ]) {
      const { problems } = reading(url, (reader) => reader.postgresUrl('IT'))

      expect(problems).to.have.length(1)
      expect(problems[0]).to.match(/^IT must be a postgres:\/\/ URL/)
      expect(problems[0]).not.to.include('hunter2')
    }
  })

  it('answers every text with a value in range, or the default and a problem', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.integer().map(String),
          fc.stringMatching(/^\d{1,5} ?(B|KB|MB|GB|ms|s|m|h|d)$/),
        ),
        (text) => {
          for (const { read, low, high } of [
            { read: port, low: 0, high: 65_535 },
            { read: size, low: 1024, high: 1024 ** 3 },
            { read: time, low: 1, high: 2_592_000_000 },
          ]) {
            const { value, problems } = read(text)
            expect(value).to.be.within(low, high)
            if (problems.length > 0) expect(value).to.equal(read().value)
          }
        },
      ),
    )
  })
})
