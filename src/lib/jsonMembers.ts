import {
  BACKSLASH,
  JsonScanner,
  type JsonSpan,
  OPEN_BRACE,
  OPEN_BRACKET,
  QUOTE,
  unicodeEscape,
} from './jsonScanner.ts'

/** A part of a text, and how deep it is in what encloses it. */
export interface JsonRange {
  readonly start?: number
  readonly end?: number
  readonly outside?: number
}

/** How many elements an array has, and where the first of them are. */
export interface JsonElements {
  readonly count: number
  readonly spans: readonly JsonSpan[]
}

/**
 * The members of an object that have one of these names, of a repeated name the last, as in JSON.parse; undefined when
 * the text is another JSON value. Names hold no characters that JSON has a short escape for. Throws a JsonSyntaxError.
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

/** Has scanMembers note the elements of one member, so that they are not looked for again. */
export class ArrayMember {
  readonly name: string
  readonly #max: number
  /** Undefined when the member is no array. */
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

/** The elements of an array, up to `max`; undefined when the text is another JSON value. Throws a JsonSyntaxError. */
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

/** Which of the names is written, perhaps with escapes, from `at` up to a quote. */
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
