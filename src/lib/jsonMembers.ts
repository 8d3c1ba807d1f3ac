import {
  BACKSLASH,
  JsonScanner,
  type JsonSpan,
  OPEN_BRACE,
  OPEN_BRACKET,
  QUOTE,
  unicodeEscape,
} from './jsonScanner.ts'

/** A range of a text, and its depth in the enclosing JSON. */
export interface JsonRange {
  readonly start?: number
  readonly end?: number
  readonly outside?: number
}

/** The number of elements of an array, and the ranges of the first ones. */
export interface JsonElements {
  readonly count: number
  readonly spans: readonly JsonSpan[]
}

/**
 * Finds the members of an object that have one of these names; of a repeated name the last, as JSON.parse does. Undefined when
 * the text is another JSON value. `names` must not contain characters with a short JSON escape. Throws a JsonSyntaxError.
 */
export function scanMembers(
  text: string,
  names: readonly string[],
  { start = 0, end = text.length, outside = 0 }: JsonRange = {},
  array?: ArrayMember,
): Map<string, JsonSpan> | undefined {
  const scanner = new JsonScanner(text, start, end)
  scanner.space()
  const members = scanner.peek() === OPEN_BRACE ? new Map<string, JsonSpan>() : undefined
  if (members === undefined) scanner.skip(outside)
  else
    scanner.entries(OPEN_BRACE, () => {
      const nameStart = scanner.at + 1
      scanner.name()
      const name = nameAt(text, nameStart, names)
      if (name === undefined) scanner.skip(outside + 1)
      else if (name !== array?.name) members.set(name, scanner.value(outside + 1))
      else members.set(name, array.scan(scanner, outside + 1))
    })
  scanner.finish()
  return members
}

/** Has scanMembers record the elements of one member, so that the text is not scanned again for them. */
export class ArrayMember {
  readonly name: string
  readonly #max: number
  /** Undefined when the member is not an array. */
  elements: JsonElements | undefined

  constructor(name: string, max: number) {
    this.name = name
    this.#max = max
  }

  scan(scanner: JsonScanner, outside: number): JsonSpan {
    this.elements = undefined
    if (scanner.peek() !== OPEN_BRACKET) return scanner.value(outside)
    const start = scanner.at
    this.elements = elementsOf(scanner, outside, this.#max)
    return { start, end: scanner.at, problem: undefined, hasLoneSurrogate: false }
  }
}

/** Finds the elements of an array, up to `max`; undefined when the text is another JSON value. Throws a JsonSyntaxError. */
export function scanElements(
  text: string,
  max = Number.POSITIVE_INFINITY,
  { start = 0, end = text.length, outside = 0 }: JsonRange = {},
): JsonElements | undefined {
  const scanner = new JsonScanner(text, start, end)
  scanner.space()
  let elements: JsonElements | undefined
  if (scanner.peek() === OPEN_BRACKET) elements = elementsOf(scanner, outside, max)
  else scanner.skip(outside)
  scanner.finish()
  return elements
}

function elementsOf(scanner: JsonScanner, outside: number, max: number): JsonElements {
  const spans: JsonSpan[] = []
  let count = 0
  scanner.entries(OPEN_BRACKET, () => {
    count += 1
    if (count > max) scanner.skip(outside + 1)
    else spans.push(scanner.value(outside + 1))
  })
  return { count, spans }
}

/** The name that is written from `at` up to a quote, perhaps with escapes; undefined when it is none of the names. */
function nameAt(text: string, at: number, names: readonly string[]): string | undefined {
  const first = characterAt(text, at)
  for (const name of names) {
    if (name.charCodeAt(0) !== first) continue
    let end = at
    let matched = 0
    while (matched < name.length && characterAt(text, end) === name.charCodeAt(matched)) {
      end += text.charCodeAt(end) === BACKSLASH ? 6 : 1
      matched += 1
    }
    if (matched === name.length && text.charCodeAt(end) === QUOTE) return name
  }
  return undefined
}

/** The code of the character at that position of a valid name; NO_CODE when it is an escape without `u`. */
function characterAt(text: string, at: number): number {
  const code = text.charCodeAt(at)
  return code === BACKSLASH ? unicodeEscape(text, at, text.length) : code
}
