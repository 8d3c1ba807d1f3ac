import { type ArrayMember, type JsonRange, scanMembers } from '../lib/jsonMembers.ts'
import { type JsonSpan, JsonSyntaxError, problemOf } from '../lib/jsonScanner.ts'
import { unstorableString } from '../lib/jsonText.ts'
import { AppError, type ErrorCode } from '../protocol/errors.ts'

/** Selected members of a JSON object. `value` has an empty object or array for members that are one. */
export interface JsonObjectText {
  readonly value: Record<string, unknown>
  readonly text: string
  readonly members: ReadonlyMap<string, JsonSpan>
}

/** Parses the named members of a JSON object. Throws invalid_json, or `code` for JSON that is no object. `where` begins each message. */
export function parseObject(
  text: string,
  names: readonly string[],
  code: ErrorCode,
  where = '',
  range: JsonRange = {},
  array?: ArrayMember,
): JsonObjectText {
  const members = scanned(text, where, () => scanMembers(text, names, range, array))
  if (members === undefined) throw new AppError(code, `${where}the body must be a JSON object`)
  return { value: valuesOf(text, members), text, members }
}

/** The value of a member. Of an object it has only the named members. */
export function innerValue(
  { text, members }: JsonObjectText,
  field: string,
  names: readonly string[],
): unknown {
  const span = members.get(field)
  return span && valueAt(text, span, names)
}

/** The value at a span of the text. Of an object it has only the named members. */
export function valueAt(text: string, span: JsonSpan, names: readonly string[]): unknown {
  const members = scanMembers(text, names, span)
  return members ? valuesOf(text, members) : scalarAt(text, span)
}

export function valuesOf(text: string, members: ReadonlyMap<string, JsonSpan>): Record<string, unknown> {
  const value: Record<string, unknown> = {}
  for (const [name, span] of members) value[name] = scalarAt(text, span)
  return value
}

/** The scalar at a span, or an empty object or array for one. */
function scalarAt(text: string, { start, end }: JsonSpan): unknown {
  const first = text[start]
  return first === '{' ? {} : first === '[' ? [] : JSON.parse(text.slice(start, end))
}

function scanned<T>(text: string, where: string, scan: () => T): T {
  try {
    return scan()
  } catch (cause) {
    if (!(cause instanceof JsonSyntaxError)) throw cause
    const reason = text.trim() === '' ? 'it is empty' : cause.message
    throw new AppError('invalid_json', `${where}the body cannot be parsed as JSON: ${reason}`, {}, { cause })
  }
}

/** The exact text of a member that is stored unchanged. Throws `code` when Postgres cannot store it so. */
export function keptText(
  { text, members }: JsonObjectText,
  field: string,
  code: ErrorCode,
  where = '',
  loneSurrogates: 'refused' | 'kept' = 'refused',
): string | undefined {
  const span = members.get(field)
  if (span === undefined || text.startsWith('null', span.start)) return undefined
  const problem = problemOf(span, loneSurrogates)
  if (problem)
    throw new AppError(code, `${where}${field} cannot be stored unchanged: ${problem.reason}`, { field })
  return text.slice(span.start, span.end)
}

/** Throws `code` when the text of a member has more than `maxBytes` bytes of UTF-8. */
export function assertMaxBytes(
  text: string | undefined,
  maxBytes: number,
  field: string,
  code: ErrorCode,
  where = '',
): void {
  // A UTF-16 unit is at most 3 bytes of UTF-8, so most texts need not be measured.
  if (text === undefined || 3 * text.length <= maxBytes || Buffer.byteLength(text) <= maxBytes) return
  throw new AppError(code, `${where}${field} must be at most ${maxBytes} bytes of JSON`, {
    field,
    max_bytes: maxBytes,
  })
}

/** Throws `code` when one of these string members contains what Postgres cannot store unchanged. */
export function assertStorable(
  value: Readonly<Record<string, unknown>>,
  fields: readonly string[],
  code: ErrorCode,
  where = '',
): void {
  for (const field of fields) {
    const member = value[field]
    const problem = typeof member === 'string' ? unstorableString(member) : undefined
    if (problem)
      throw new AppError(code, `${where}${field} cannot be stored unchanged: ${problem.reason}`, { field })
  }
}
