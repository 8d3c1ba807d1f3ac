import { JSON_PROBLEMS, type JsonProblem, MAX_EXPONENT_DIGITS, MAX_NUMBER_CHARACTERS } from './jsonText.ts'

/** The maximum depth. Postgres's parser recurses, and some thousand levels exhaust its stack; real data is far below. */
export const MAX_JSON_DEPTH = 512

/** The text is not JSON, or is nested too deep. The message names the position. */
export class JsonSyntaxError extends Error {
  override readonly name = 'JsonSyntaxError'
}

/** The range of a value in the text, and what in it cannot be stored exactly. */
export interface JsonSpan {
  readonly start: number
  readonly end: number
  readonly problem: JsonProblem | undefined
  /** Whether an escape in a string is half of a surrogate pair. */
  readonly hasLoneSurrogate: boolean
}

export const QUOTE = 34
const PLUS = 43
const COMMA = 44
const MINUS = 45
const DOT = 46
const ZERO = 48
const NINE = 57
const COLON = 58
export const OPEN_BRACKET = 91
export const BACKSLASH = 92
const U = 117
export const OPEN_BRACE = 123
const CLOSE_BRACE = 125
const NO_CODE = -1
/** The characters that may follow a backslash, except `u`. */
const ESCAPED = new Set([...'"\\/bfnrt'].map((it) => it.charCodeAt(0)))
/** The part of a string without escapes. On long strings a regular expression is several times faster than a loop. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON has none in its strings
const PLAIN = /[^"\\\u0000-\u001f]*/y
const SHORT_STRING = 48
const LITERALS = ['true', 'false', 'null'] as const

const isSpace = (code: number) => code === 32 || code === 10 || code === 13 || code === 9
const isDigit = (code: number) => code >= ZERO && code <= NINE
const isHigh = (code: number) => code >= 0xd800 && code <= 0xdbff
const isLow = (code: number) => code >= 0xdc00 && code <= 0xdfff

/** The closing brackets that a scan expects. A scan is synchronous, so all scans share one buffer. */
const closers = new Uint8Array(MAX_JSON_DEPTH + 2)

/**
 * Reads JSON text (RFC 8259) from `at` up to `end`, once, from left to right, and builds nothing: JSON.parse takes
 * seconds over a few megabytes of brackets or of names. Every method throws a JsonSyntaxError.
 */
export class JsonScanner {
  readonly #text: string
  readonly #end: number
  at: number
  problem: JsonProblem | undefined
  hasLoneSurrogate = false

  constructor(text: string, at: number, end: number) {
    this.#text = text
    this.at = at
    this.#end = end
  }

  /** The code of the next character; NO_CODE at the end. */
  peek(): number {
    return this.at < this.#end ? this.#text.charCodeAt(this.at) : NO_CODE
  }

  space(): void {
    while (isSpace(this.peek())) this.at += 1
  }

  /** Checks that only white space is left. */
  finish(): void {
    this.space()
    if (this.at < this.#end) this.#fail()
  }

  /** Whether this code is next. If so, moves past it and the white space after it. */
  take(code: number): boolean {
    if (this.peek() !== code) return false
    this.at += 1
    this.space()
    return true
  }

  /** Reads a name, its colon, and the white space after it. */
  name(): void {
    if (this.peek() !== QUOTE) this.#fail()
    this.#string()
    this.space()
    if (!this.take(COLON)) this.#fail()
  }

  /** Reads a value that is `outside` levels deep. */
  value(outside: number): JsonSpan {
    this.problem = undefined
    this.hasLoneSurrogate = false
    const start = this.at
    this.skip(outside)
    return { start, end: this.at, problem: this.problem, hasLoneSurrogate: this.hasLoneSurrogate }
  }

  /** Reads a container, brackets included. `entry` reads each member or element. */
  entries(opener: number, entry: () => void): void {
    this.take(opener)
    if (this.peek() === opener + 2) this.at += 1
    else
      do entry()
      while (this.next(opener + 2))
  }

  /** Reads what follows a member or an element: true when another one follows, false when `closer` did. */
  next(closer: number): boolean {
    this.space()
    if (this.take(COMMA)) return true
    if (this.peek() !== closer) this.#fail()
    this.at += 1
    return false
  }

  /** Reads a value without returning it. */
  skip(outside: number): void {
    let depth = outside
    for (;;) {
      const code = this.peek()
      if (code === OPEN_BRACE || code === OPEN_BRACKET) {
        const closer = code + 2
        if (depth >= MAX_JSON_DEPTH) throw new JsonSyntaxError(`nested deeper than ${MAX_JSON_DEPTH} levels`)
        this.at += 1
        this.space()
        if (this.peek() === closer) this.at += 1
        else {
          depth += 1
          closers[depth] = closer
          if (closer === CLOSE_BRACE) this.name()
          continue
        }
      } else if (code === QUOTE) this.#string()
      else if (isDigit(code) || code === MINUS) this.#number(code)
      else this.#literal()
      // After a value, its container continues or ends.
      for (;;) {
        if (depth === outside) return
        if (this.next(closers[depth] as number)) break
        depth -= 1
      }
      if (closers[depth] === CLOSE_BRACE) this.name()
    }
  }

  #string(): void {
    const text = this.#text
    const end = this.#end
    let at = this.at + 1
    for (let quick = at + SHORT_STRING; at < end; ) {
      if (at >= quick) {
        PLAIN.lastIndex = at
        PLAIN.test(text)
        at = PLAIN.lastIndex
        quick = at + SHORT_STRING
        if (at >= end) break
      }
      const code = text.charCodeAt(at)
      if (code === QUOTE) {
        this.at = at + 1
        return
      }
      if (code < 32) break
      at = code === BACKSLASH ? this.#escape(at) : at + 1
    }
    this.at = at
    this.#fail()
  }

  /** The position after the escape at `at`, and after the second half of a pair. */
  #escape(at: number): number {
    if (at + 1 < this.#end && ESCAPED.has(this.#text.charCodeAt(at + 1))) return at + 2
    const code = unicodeEscape(this.#text, at, this.#end)
    if (code === NO_CODE) {
      this.at = at
      this.#fail()
    }
    if (code === 0) this.problem ??= JSON_PROBLEMS.nul
    if (isHigh(code) && isLow(unicodeEscape(this.#text, at + 6, this.#end))) return at + 12
    if (isHigh(code) || isLow(code)) this.hasLoneSurrogate = true
    return at + 6
  }

  #number(first: number): void {
    const start = this.at
    const whole = first === MINUS ? start + 1 : start
    this.at = this.#digits(whole)
    if (this.#text.charCodeAt(whole) === ZERO && this.at > whole + 1) {
      this.at = whole + 1 // a zero stands alone
      return
    }
    if (this.peek() === DOT) this.at = this.#digits(this.at + 1)
    const mark = this.peek()
    if (mark === 69 || mark === 101) {
      const sign = this.at + 1 < this.#end ? this.#text.charCodeAt(this.at + 1) : NO_CODE
      let from = sign === PLUS || sign === MINUS ? this.at + 2 : this.at + 1
      this.at = this.#digits(from)
      while (this.#text.charCodeAt(from) === ZERO && from < this.at) from += 1
      if (this.at - from > MAX_EXPONENT_DIGITS) this.problem ??= JSON_PROBLEMS.exponent
    }
    if (this.at - start > MAX_NUMBER_CHARACTERS) this.problem ??= JSON_PROBLEMS.longNumber
  }

  /** The position after the digits at `from`; there must be at least one. */
  #digits(from: number): number {
    const text = this.#text
    const end = this.#end
    let at = from
    while (at < end && isDigit(text.charCodeAt(at))) at += 1
    if (at === from) {
      this.at = from
      this.#fail()
    }
    return at
  }

  #literal(): void {
    for (const literal of LITERALS)
      if (this.#text.startsWith(literal, this.at) && this.at + literal.length <= this.#end) {
        this.at += literal.length
        return
      }
    this.#fail()
  }

  #fail(): never {
    if (this.at >= this.#end) throw new JsonSyntaxError('unexpected end of JSON input')
    const character = JSON.stringify(String.fromCodePoint(this.#text.codePointAt(this.at) as number))
    throw new JsonSyntaxError(`unexpected character ${character} at position ${this.at}`)
  }
}

/** The code of `\uXXXX` at that position; NO_CODE when there is none before `end`. */
export function unicodeEscape(text: string, at: number, end: number): number {
  if (at + 6 > end || text.charCodeAt(at) !== BACKSLASH || text.charCodeAt(at + 1) !== U) return NO_CODE
  let code = 0
  for (let i = at + 2; i < at + 6; i += 1) {
    const digit = hexDigit(text.charCodeAt(i))
    if (digit === NO_CODE) return NO_CODE
    code = code * 16 + digit
  }
  return code
}

function hexDigit(code: number): number {
  if (isDigit(code)) return code - ZERO
  const letter = code | 32
  return letter >= 97 && letter <= 102 ? letter - 87 : NO_CODE
}

/**
 * The reason why a value cannot be stored exactly; undefined when it can. A column of type `json`, unlike `jsonb`, can keep an
 * escaped lone surrogate: streamed text now and then cuts an emoji in two.
 */
export function problemOf(
  { problem, hasLoneSurrogate }: JsonSpan,
  loneSurrogates: 'refused' | 'kept' = 'refused',
): JsonProblem | undefined {
  return (
    problem ?? (hasLoneSurrogate && loneSurrogates === 'refused' ? JSON_PROBLEMS.loneSurrogate : undefined)
  )
}

/** The same for a whole text. Throws a JsonSyntaxError. */
export function unstorable(
  text: string,
  loneSurrogates: 'refused' | 'kept' = 'refused',
): JsonProblem | undefined {
  const scanner = new JsonScanner(text, 0, text.length)
  scanner.space()
  const span = scanner.value(0)
  scanner.finish()
  return problemOf(span, loneSurrogates)
}
