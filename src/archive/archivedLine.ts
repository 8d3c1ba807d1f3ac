import type { ChainVersion } from './chain.ts'

/** A line that does not have the form of docs/archive-format.md. */
export class LineError extends Error {
  override readonly name = 'LineError'
}

/** A range of the buffer; `start` is -1 for a member that is absent. Of a string: the range between the quotes. */
export interface Span {
  start: number
  end: number
}

const QUOTE = 34
const BACKSLASH = 92
const COMMA = 44
const OPEN_BRACE = 123
const CLOSE_BRACE = 125
const OPEN_BRACKET = 91
const CLOSE_BRACKET = 93
const LINE_FEED = 0x0a
const SPACE = 0x20

const literal = (text: string) => Buffer.from(text)
const SEQ = literal('{"seq":')
const TYPE = literal(',"type":"')
const PAYLOAD = literal(',"payload":')
const ACTOR = literal(',"actor":"')
const SUBJECT = literal(',"subject":"')
const SOURCE = literal(',"source":"')
const PRODUCER_ID = literal(',"producer_id":"')
const PRODUCER_SEQ = literal(',"producer_seq":')
const IDEMPOTENCY_KEY = literal(',"idempotency_key":"')
const METADATA = literal(',"metadata":')
const REFS = literal(',"refs":')
const REDACTED = literal(',"redacted":true')
const INSERTED_AT = literal(',"inserted_at":"')
const SESSION_ID = literal('","session_id":"')
const SALT = literal('","salt":')
const NULL = literal('null')
const CONTENT_DIGEST = literal(',"content_digest":"')
const HASH = literal('","hash":"')
/** Absent in form 1 of the chain. */
const CHAIN_VERSION = literal(',"chain_version":2')
const LINE_FEEDS = literal(',"line_feeds":[')
const QUOTE_END = literal('"')
const END = literal('}')
const LINE_FEEDS_END = literal(']}')

const DIGEST_DIGITS = 64
const SALT_DIGITS = 32

const isDigit = (code: number) => code >= 48 && code <= 57
const isSpace = (code: number) => code === SPACE || code === LINE_FEED || code === 13 || code === 9

/**
 * Finds the members of an archived line, which have a fixed order, without building anything: one reader serves every
 * line. Values are not validated beyond their brackets and quotes.
 */
export class ArchivedLine {
  bytes: Buffer = Buffer.alloc(0)
  #at = 0
  #end = 0
  #feeds: readonly number[] = []

  start = 0
  seq = 0
  readonly seqText: Span = { start: 0, end: 0 }
  readonly type: Span = { start: 0, end: 0 }
  readonly payload: Span = { start: 0, end: 0 }
  readonly actor: Span = { start: 0, end: 0 }
  readonly subject: Span = { start: -1, end: -1 }
  readonly source: Span = { start: -1, end: -1 }
  readonly producerId: Span = { start: -1, end: -1 }
  /** Digits. */
  readonly producerSeq: Span = { start: -1, end: -1 }
  readonly idempotencyKey: Span = { start: -1, end: -1 }
  readonly metadata: Span = { start: 0, end: 0 }
  readonly refs: Span = { start: 0, end: 0 }
  isRedacted = false
  readonly insertedAt: Span = { start: 0, end: 0 }
  readonly sessionId: Span = { start: 0, end: 0 }
  /** Hex digits. */
  readonly salt: Span = { start: -1, end: -1 }
  readonly contentDigest: Span = { start: 0, end: 0 }
  readonly hash: Span = { start: 0, end: 0 }
  chainVersion: ChainVersion = 1

  /** Reads the line at `start`, whose line feed is at `end`. Throws a LineError. */
  read(bytes: Buffer, start: number, end: number): void {
    this.bytes = bytes
    this.start = start
    this.#at = start
    this.#end = end
    this.#feeds = []

    this.#expect(SEQ)
    this.#digits(this.seqText)
    this.seq = this.#number(this.seqText)
    this.#expect(TYPE)
    this.#string(this.type)
    this.#expect(PAYLOAD)
    this.#value(this.payload)
    this.#expect(ACTOR)
    this.#string(this.actor)
    this.#optional(SUBJECT, this.subject)
    this.#optional(SOURCE, this.source)
    this.#optional(PRODUCER_ID, this.producerId)
    if (this.#takes(PRODUCER_SEQ)) this.#digits(this.producerSeq)
    else this.producerSeq.start = -1
    this.#optional(IDEMPOTENCY_KEY, this.idempotencyKey)
    this.#expect(METADATA)
    this.#value(this.metadata)
    this.#expect(REFS)
    this.#value(this.refs)
    this.isRedacted = this.#takes(REDACTED)
    this.#expect(INSERTED_AT)
    this.#string(this.insertedAt)
    this.#at -= 1
    this.#expect(SESSION_ID)
    this.#string(this.sessionId)
    this.#at -= 1
    this.#expect(SALT)
    if (this.#takes(NULL)) this.salt.start = -1
    else {
      this.#at += 1
      this.#hex(this.salt, SALT_DIGITS)
      this.#at += 1
    }
    this.#expect(CONTENT_DIGEST)
    this.#hex(this.contentDigest, DIGEST_DIGITS)
    this.#expect(HASH)
    this.#hex(this.hash, DIGEST_DIGITS)
    this.#expect(QUOTE_END)
    this.chainVersion = this.#takes(CHAIN_VERSION) ? 2 : 1
    if (this.#takes(LINE_FEEDS)) {
      const close = bytes.indexOf(CLOSE_BRACKET, this.#at)
      this.#feeds = bytes.toString('latin1', this.#at, close).split(',').map(Number)
      this.#at = close
      this.#expect(LINE_FEEDS_END)
    } else this.#expect(END)
    if (this.#at !== end) this.#fail()
  }

  /** Restores, in the line's own bytes, the line feeds that the archive has replaced with spaces. */
  restoreLineFeeds(): void {
    for (const offset of this.#feeds) {
      const at = this.start + offset
      if (!(at > this.start && at < this.sessionId.start) || this.bytes[at] !== SPACE) this.#fail()
      this.bytes[at] = LINE_FEED
    }
  }

  /** The value of a member that is a string; null when it is absent. Throws a LineError when it is not a string. */
  text(span: Span): string | null {
    if (span.start === -1) return null
    const raw = this.bytes.toString('utf8', span.start, span.end)
    if (!raw.includes('\\')) return raw
    try {
      return JSON.parse(`"${raw}"`) as string
    } catch (cause) {
      throw new LineError(`the member at byte ${span.start - this.start} is not a string`, { cause })
    }
  }

  /** The event as every reader sees it. Read it after restoreLineFeeds. */
  get rendered(): string {
    return `${this.bytes.toString('utf8', this.start, this.insertedAt.end)}"}`
  }

  /** The text of a member, as it is in the line. */
  raw(span: Span): string {
    return this.bytes.toString('utf8', span.start, span.end)
  }

  /** The text of a member that has ASCII characters only, such as hex digits. */
  digits(span: Span): string {
    return this.bytes.toString('latin1', span.start, span.end)
  }

  #fail(): never {
    throw new LineError(`the line is malformed at byte ${this.#at - this.start}`)
  }

  #takes(expected: Buffer): boolean {
    const { bytes } = this
    const at = this.#at
    if (at + expected.length > this.#end) return false
    for (let i = 0; i < expected.length; i += 1) if (bytes[at + i] !== expected[i]) return false
    this.#at = at + expected.length
    return true
  }

  #expect(expected: Buffer): void {
    if (!this.#takes(expected)) this.#fail()
  }

  #optional(name: Buffer, span: Span): void {
    if (this.#takes(name)) this.#string(span)
    else span.start = -1
  }

  /** Advances past the closing quote; the opening one has been read. */
  #string(span: Span): void {
    span.start = this.#at
    const close = this.#closingQuote(this.#at)
    span.end = close
    this.#at = close + 1
  }

  #closingQuote(from: number): number {
    const { bytes } = this
    const end = this.#end
    for (let at = from; at < end; at += 1) {
      const code = bytes[at]
      if (code === QUOTE) return at
      if (code === BACKSLASH) at += 1
    }
    return this.#fail()
  }

  #digits(span: Span): void {
    span.start = this.#at
    while (isDigit(this.bytes[this.#at] as number)) this.#at += 1
    span.end = this.#at
    if (span.start === span.end) this.#fail()
  }

  #number({ start, end }: Span): number {
    let value = 0
    for (let at = start; at < end; at += 1) value = value * 10 + ((this.bytes[at] as number) - 48)
    return value
  }

  #hex(span: Span, digits: number): void {
    span.start = this.#at
    this.#at += digits
    span.end = this.#at
    if (span.end > this.#end) this.#fail()
  }

  /** A JSON value with the white space around it, which is part of what was sent. */
  #value(span: Span): void {
    const { bytes } = this
    const end = this.#end
    span.start = this.#at
    let depth = 0
    let at = this.#at
    while (at < end && isSpace(bytes[at] as number)) at += 1
    for (; at < end; at += 1) {
      const code = bytes[at] as number
      if (code === QUOTE) at = this.#closingQuote(at + 1)
      else if (code === OPEN_BRACE || code === OPEN_BRACKET) depth += 1
      else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) depth -= 1
      else if (code === COMMA && depth === 0) break
    }
    if (at >= end || depth !== 0) this.#fail()
    span.end = at
    this.#at = at
  }
}

/** The lines of a text, one after the other, all in the same reader. Throws a LineError. */
export function* linesOf(text: Buffer): Generator<ArchivedLine, void> {
  const line = new ArchivedLine()
  for (let start = 0; start < text.length; ) {
    const end = text.indexOf(LINE_FEED, start)
    line.read(text, start, end)
    yield line
    start = end + 1
  }
}
