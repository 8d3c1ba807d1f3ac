import type { ParsedUrlQuery } from 'node:querystring'
import { unstorable } from '../lib/jsonScanner.ts'
import { AppError } from '../protocol/errors.ts'
import { MAX_METADATA_FILTERS } from './bounds.ts'
import { Type } from './jsonSchema.ts'
import { inQuery, type Parameter } from './parameters.ts'

/** The metadata filters of a list of sessions: for each filter the JSON texts of which the metadata must contain one. */
export const METADATA_FILTER: Parameter<string[][]> = {
  ...inQuery(
    'invalid_list_query',
    Type.Object({}, { additionalProperties: { type: 'string' }, maxProperties: MAX_METADATA_FILTERS }),
    'Only sessions whose metadata has, at the top level, this value under the key: as a string, or as the number or ' +
      'boolean that the string spells. `metadata.K=V` is another way to write it. All filters must match.',
    readFilters,
  ),
  style: 'deepObject',
}

/** Reads the filters `metadata.K=V` and `metadata[K]=V`. */
function readFilters(query: ParsedUrlQuery): string[][] {
  const filters: string[][] = []
  for (const [name, values] of Object.entries(query)) {
    if (!/^metadata($|[.[])/.test(name)) continue
    const match = /^metadata(?:\.(.+)|\[(.+)\])$/s.exec(name)
    const key = match?.[1] ?? match?.[2]
    if (key === undefined)
      throw new AppError('invalid_list_query', `${name} names no key: write metadata.K=V or metadata[K]=V`, {
        field: name,
      })
    for (const value of [values ?? ''].flat()) filters.push(alternatives(key, value, name))
  }
  if (filters.length > MAX_METADATA_FILTERS)
    throw new AppError('invalid_list_query', `at most ${MAX_METADATA_FILTERS} metadata filters are allowed`)
  return filters
}

function alternatives(key: string, value: string, field: string): string[] {
  const asString = `{${JSON.stringify(key)}:${JSON.stringify(value)}}`
  const problem = unstorable(asString)
  if (problem) throw new AppError('invalid_list_query', `${field} cannot match: ${problem.reason}`, { field })
  // V also stands for the number or boolean that it spells.
  const isLiteral = /^(true|false|-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?)$/.test(value)
  const asLiteral = `{${JSON.stringify(key)}:${value}}`
  return isLiteral && unstorable(asLiteral) === undefined ? [asString, asLiteral] : [asString]
}
