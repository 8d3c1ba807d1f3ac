/**
 * Looks into JSON text without rebuilding it. JSON.parse decides whether text is valid and what its values are; this
 * file finds where members stand in the text, so that they can be kept to the letter (every JavaScript parser loses
 * digits of big integers, and `1.0`).
 */

export interface JsonProblem {
  readonly reason: string
}

/** Postgres's own parser recurses: some thousand levels exhaust its stack. Nothing that people write comes near. */
export const MAX_JSON_DEPTH = 512
/** Longer ones neither fit Postgres's numeric nor survive most readers; `jsonb` would write 1e999999 out in full. */
export const MAX_NUMBER_CHARACTERS = 1000
const MAX_EXPONENT_DIGITS = 3

const QUOTE = 34
const BACKSLASH = 92
const COMMA = 44
const OPEN_BRACE = 123
const CLOSE_BRACE = 125
const OPEN_BRACKET = 91
const CLOSE_BRACKET = 93

/** The index after the string that opens at `at`. */
function afterString(text: string, at: number): number {
  let end = at + 1
  for (;;) {
    const code = text.charCodeAt(end)
    if (code === QUOTE) return end + 1
    end += code === BACKSLASH ? 2 : 1
  }
}

const isSpace = (code: number) => code === 32 || code === 10 || code === 13 || code === 9

function skipSpace(text: string, at: number): number {
  let end = at
  while (isSpace(text.charCodeAt(end))) end += 1
  return end
}

/** The index after the value that starts at `at`. */
function afterValue(text: string, at: number): number {
  const first = text.charCodeAt(at)
  if (first === QUOTE) return afterString(text, at)
  let depth = 0
  let end = at
  for (;;) {
    const code = text.charCodeAt(end)
    if (code === QUOTE) {
      end = afterString(text, end)
      continue
    }
    if (code === OPEN_BRACE || code === OPEN_BRACKET) depth += 1
    else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
      if (depth === 0) return end
      depth -= 1
      if (depth === 0) return end + 1
    } else if (depth === 0 && (code === COMMA || isSpace(code) || Number.isNaN(code))) return end
    end += 1
  }
}

/** The members of an object, name to text of the value. `text` must be a valid JSON object; of a repeated name the last counts, as in JSON.parse. */
export function memberTexts(text: string): Map<string, string> {
  const members = new Map<string, string>()
  let at = skipSpace(text, skipSpace(text, 0) + 1)
  while (text.charCodeAt(at) === QUOTE) {
    const nameEnd = afterString(text, at)
    const rawName = text.slice(at + 1, nameEnd - 1)
    const name = rawName.includes('\\') ? (JSON.parse(`"${rawName}"`) as string) : rawName
    const start = skipSpace(text, skipSpace(text, nameEnd) + 1)
    const end = afterValue(text, start)
    members.set(name, text.slice(start, end))
    at = skipSpace(text, end)
    if (text.charCodeAt(at) === COMMA) at = skipSpace(text, at + 1)
  }
  return members
}

/** The texts of an array's elements. `text` must be a valid JSON array. */
export function elementTexts(text: string): string[] {
  const elements: string[] = []
  let at = skipSpace(text, skipSpace(text, 0) + 1)
  while (text.charCodeAt(at) !== CLOSE_BRACKET) {
    const end = afterValue(text, at)
    elements.push(text.slice(at, end))
    at = skipSpace(text, end)
    if (text.charCodeAt(at) === COMMA) at = skipSpace(text, at + 1)
  }
  return elements
}

/**
 * Whether brackets nest deeper than `limit`. Needs no valid JSON, so it can go first: JSON.parse takes seconds over some
 * megabytes of opening brackets.
 */
export function isDeeperThan(text: string, limit: number): boolean {
  let depth = 0
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) {
      for (at += 1; at < text.length; at += 1) {
        const inside = text.charCodeAt(at)
        if (inside === BACKSLASH) at += 1
        else if (inside === QUOTE) break
      }
    } else if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      depth += 1
      if (depth > limit) return true
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) depth -= 1
  }
  return false
}

// In valid JSON a backslash stands only in a string and always begins an escape, so taking escapes one after the
// other from the left never mistakes the second half of `\\` for the start of one.
const ESCAPES = /\\(?:u([0-9a-fA-F]{4})|[^u])/g
// A number of many characters, or with a long exponent, outside or inside a string: looked at closer when met. A run of
// digits is tried from its start only; from each of its digits it would be read a thousand times over.
const LONG_NUMBER = new RegExp(
  `(?<![0-9.])[0-9.]{${MAX_NUMBER_CHARACTERS}}|[0-9][eE][+-]?[0-9]{${MAX_EXPONENT_DIGITS + 1}}`,
)
const NUMBER = /-?[0-9][0-9.]*(?:[eE][+-]?([0-9]+))?/y

/**
 * Why a valid JSON text cannot be stored to the letter, or undefined when it can: U+0000 and lone surrogates (no
 * Postgres text holds them), numbers beyond any numeric type. Where only `json` is asked for, and never `jsonb`, an
 * escaped lone surrogate can be kept: streamed text now and then cuts an emoji in two.
 */
export function unstorable(
  text: string,
  loneSurrogates: 'refused' | 'kept' = 'refused',
): JsonProblem | undefined {
  return (
    (text.includes('\\u') ? badEscape(text, loneSurrogates) : undefined) ??
    (LONG_NUMBER.test(text) ? badNumber(text) : undefined)
  )
}

function badEscape(text: string, loneSurrogates: 'refused' | 'kept'): JsonProblem | undefined {
  let high = -1 // the index just after a high surrogate that waits for its other half
  for (const match of text.matchAll(ESCAPES)) {
    const code = match[1] === undefined ? -1 : Number.parseInt(match[1], 16)
    const isLow = code >= 0xdc00 && code <= 0xdfff
    if (code === 0) return { reason: 'it contains \\u0000, which Postgres text cannot hold' }
    if (loneSurrogates === 'kept') continue
    if (high !== -1 && !(isLow && match.index === high)) return LONE_SURROGATE
    if (high === -1 && isLow) return LONE_SURROGATE
    high = code >= 0xd800 && code <= 0xdbff ? match.index + match[0].length : -1
  }
  return high === -1 ? undefined : LONE_SURROGATE
}

const LONE_SURROGATE: JsonProblem = {
  reason: 'it contains half of a surrogate pair, which is no Unicode text',
}

function badNumber(text: string): JsonProblem | undefined {
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) {
      at = afterString(text, at) - 1
      continue
    }
    if (code !== 45 && !(code >= 48 && code <= 57)) continue
    NUMBER.lastIndex = at
    const match = NUMBER.exec(text)
    if (match === null) continue
    if (match[0].length > MAX_NUMBER_CHARACTERS)
      return { reason: `it contains a number of more than ${MAX_NUMBER_CHARACTERS} characters` }
    const exponent = match[1]?.replace(/^0+/, '') ?? ''
    if (exponent.length > MAX_EXPONENT_DIGITS)
      return { reason: `it contains a number with an exponent beyond ${'9'.repeat(MAX_EXPONENT_DIGITS)}` }
    at += match[0].length - 1
  }
  return undefined
}

/** The same question for a string value. */
export function unstorableString(value: string): JsonProblem | undefined {
  if (value.includes('\0')) return { reason: 'it contains U+0000, which Postgres text cannot hold' }
  return value.isWellFormed() ? undefined : LONE_SURROGATE
}
