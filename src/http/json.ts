import { isDeeperThan, MAX_JSON_DEPTH, memberTexts, unstorable, unstorableString } from '../lib/jsonText.ts'
import { AppError, type ErrorCode } from '../protocol/errors.ts'
import { isRecord } from './validate.ts'

/** A JSON object as it came: its values, and the text of each member. */
export interface JsonObjectText {
  readonly value: Record<string, unknown>
  readonly members: ReadonlyMap<string, string>
}

/** Throws invalid_json, or `code` when it is JSON but not an object. `where` stands before each message. */
export function parseObject(text: string, code: ErrorCode, where = ''): JsonObjectText {
  return objectText(parseJson(text, where), text, code, where)
}

/** Throws `code` when the value is not an object. */
export function objectText(value: unknown, text: string, code: ErrorCode, where = ''): JsonObjectText {
  if (!isRecord(value)) throw new AppError(code, `${where}the body must be a JSON object`)
  return { value, members: memberTexts(text) }
}

export function parseJson(text: string, where = ''): unknown {
  if (isDeeperThan(text, MAX_JSON_DEPTH))
    throw new AppError('invalid_json', `${where}the body is nested deeper than ${MAX_JSON_DEPTH} levels`)
  try {
    return JSON.parse(text)
  } catch (cause) {
    // The parser's message names the position; it may quote a few characters of what the client sent.
    const reason = text.trim() === '' ? 'there is no body' : (cause as Error).message
    throw new AppError('invalid_json', `${where}the body is not JSON: ${reason}`, {}, { cause })
  }
}

/** The text of a member that must be kept to the letter. Throws `code` when it cannot be. */
export function keptText(
  object: JsonObjectText,
  field: string,
  code: ErrorCode,
  where = '',
  loneSurrogates: 'refused' | 'kept' = 'refused',
): string | undefined {
  const text = object.members.get(field)
  if (text === undefined || text === 'null') return undefined
  const problem = unstorable(text, loneSurrogates)
  if (problem)
    throw new AppError(code, `${where}${field} cannot be kept exactly: ${problem.reason}`, { field })
  return text
}

/** Throws `code` when a member's text is longer, in UTF-8, than `maxBytes`. */
export function refuseLong(
  text: string | undefined,
  maxBytes: number,
  field: string,
  code: ErrorCode,
  where = '',
): void {
  // A UTF-16 unit is at most 3 bytes: most texts need not be measured.
  if (text === undefined || 3 * text.length <= maxBytes || Buffer.byteLength(text) <= maxBytes) return
  throw new AppError(code, `${where}${field} must be at most ${maxBytes} bytes of JSON`, {
    field,
    max_bytes: maxBytes,
  })
}

/** Throws `code` when one of these string members cannot be kept exactly. */
export function refuseUnstorable(
  value: Readonly<Record<string, unknown>>,
  fields: readonly string[],
  code: ErrorCode,
  where = '',
): void {
  for (const field of fields) {
    const member = value[field]
    const problem = typeof member === 'string' ? unstorableString(member) : undefined
    if (problem)
      throw new AppError(code, `${where}${field} cannot be kept exactly: ${problem.reason}`, { field })
  }
}
