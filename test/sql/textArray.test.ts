import { expect } from 'chai'
import fc from 'fast-check'
import { textArray } from '../../src/db/textArray.ts'
import { useConnection, useDatabase } from '../support/useNode.ts'

describe('arrays in the binary format', () => {
  const database = useDatabase()
  const db = useConnection(database)

  const read = async (type: 'text' | 'json', values: readonly (string | null)[]) => {
    const { rows } = await db.query<{ text: string | null }>(
      `select e::text as text from unnest($1::${type}[]) with ordinality as u (e, o) order by o`,
      [textArray(type, values)],
    )
    return rows.map((row) => row.text)
  }

  it('are read by Postgres as what they were made of', async () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\0', '')),
      fc.constantFrom('', 'NULL', '{}', '"', '\\', ',', 'a b', '{"a":"\\"b\\""}'),
      // either side of where a string is measured, of one, two, three and four bytes a character
      fc
        .constantFrom('x', 'é', '漢', '🧪')
        .chain((letter) => fc.integer({ min: 1, max: 2000 }).map((n) => letter.repeat(n))),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(fc.option(text), { maxLength: 20 }), async (values) => {
        expect(await read('text', values)).to.deep.equal(values)
      }),
      { numRuns: 200 },
    )
  })

  it('keep JSON to the letter', async () => {
    const values = ['{"a":  1.0, "b":12345678901234567890}', null, '{}', '{"a":"\\ud83e\\uddea","é":[[]]}']
    expect(await read('json', values)).to.deep.equal(values)
  })

  it('are refused where Postgres cannot hold a character', async () => {
    const failure = await read('text', ['a', 'b\0c']).then(
      () => undefined,
      (error: unknown) => error,
    )
    expect(failure).to.have.property('code', '22021')
  })
})
