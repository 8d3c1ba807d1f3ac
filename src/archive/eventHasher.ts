import { hash } from 'node:crypto'
import { type ArchivedLine, LineError, type Span } from './archivedLine.ts'
import { BEFORE_DIGEST, BEFORE_HASH, HASH_BYTES, SALT_BYTES } from './chain.ts'

const DASH = 45
const COLON = 58
const BACKSLASH = 92

/** The values of hex digits; 0xff for any other byte. */
const HEX = new Uint8Array(256).fill(0xff)
for (const [value, digit] of [...'0123456789abcdef'].entries()) HEX[digit.charCodeAt(0)] = value

/**
 * Computes the digests and hashes of archived lines, as chain.ts defines them, from the bytes of the line. It is used
 * for every event of a log, where building texts and joining buffers would cost more than the hashing.
 */
export class EventHasher {
  /** The input of the hash function; grows to the largest event. */
  #scratch = Buffer.alloc(64 * 1024)
  #length = 0

  /** Whether the content of an event that has a salt matches its content_digest. */
  hasItsContent(line: ArchivedLine): boolean {
    this.#begin(SALT_BYTES)
    if (!this.#decode(line.bytes, line.salt, 0)) return false
    this.#lengthPrefixed(line.bytes, line.payload)
    this.#lengthPrefixed(line.bytes, line.metadata)
    this.#lengthPrefixed(line.bytes, line.refs)
    return this.#digest() === line.digits(line.contentDigest)
  }

  /** What the event adds to the chain, for chainStep. Throws a LineError when its digest is not hexadecimal. */
  link(line: ArchivedLine): Buffer {
    const start = this.#writeLink(line)
    return Buffer.from(this.#scratch.subarray(start, this.#length))
  }

  /**
   * The hash that the event must have after `previous`, both in lower-case hex. Throws a LineError when its digest, or
   * the previous hash, is not one.
   */
  hashAfter(previous: string, line: ArchivedLine): string {
    const start = this.#writeLink(line)
    const written = this.#scratch.write(previous, start - HASH_BYTES, HASH_BYTES, 'hex')
    if (written !== HASH_BYTES) throw new LineError('the hash before it is not hexadecimal')
    return this.#digest()
  }

  /**
   * Writes the link, and leaves room before it for the previous hash and the prefix of form 2. Returns where the link
   * begins.
   */
  #writeLink(line: ArchivedLine): number {
    const { bytes } = line
    const isForm2 = line.chainVersion !== 1
    const start = HASH_BYTES + (isForm2 ? BEFORE_HASH.length : 0)
    const digest = start + (isForm2 ? BEFORE_DIGEST.length : 0)
    if (isForm2) {
      BEFORE_HASH.copy(this.#scratch)
      BEFORE_DIGEST.copy(this.#scratch, start)
    }
    this.#begin(digest + HASH_BYTES)
    if (!this.#decode(bytes, line.contentDigest, digest))
      throw new LineError('its content_digest is not hexadecimal')
    this.#lengthPrefixed(bytes, line.seqText)
    this.#lengthPrefixed(bytes, line.insertedAt)
    this.#lengthPrefixedString(line, line.type)
    this.#lengthPrefixedString(line, line.actor)
    this.#lengthPrefixedString(line, line.source)
    this.#lengthPrefixedString(line, line.producerId)
    this.#lengthPrefixed(bytes, line.producerSeq)
    this.#lengthPrefixedString(line, line.idempotencyKey)
    if (isForm2) this.#lengthPrefixedString(line, line.subject)
    return start
  }

  #begin(length: number): void {
    this.#length = length
  }

  /** In hex: a Buffer would take more than twice as long. */
  #digest(): string {
    return hash('sha256', this.#scratch.subarray(0, this.#length), 'hex')
  }

  /** Decodes hex digits of the line; false when they are not hexadecimal. */
  #decode(bytes: Buffer, { start, end }: Span, to: number): boolean {
    const scratch = this.#scratch
    let all = 0
    for (let from = start, at = to; from < end; from += 2, at += 1) {
      const high = HEX[bytes[from] as number] as number
      const low = HEX[bytes[from + 1] as number] as number
      all |= high | low
      scratch[at] = (high << 4) | low
    }
    return all < 16
  }

  /** Writes `bytes` as they are, preceded by their length. */
  #lengthPrefixed(bytes: Buffer, { start, end }: Span): void {
    if (start === -1) {
      this.#room(1)
      this.#scratch[this.#length++] = DASH
      return
    }
    const length = end - start
    this.#room(length + 12)
    this.#decimal(length)
    this.#scratch[this.#length++] = COLON
    const scratch = this.#scratch
    const to = this.#length
    if (length < 32) for (let i = 0; i < length; i += 1) scratch[to + i] = bytes[start + i] as number
    else bytes.copy(scratch, to, start, end)
    this.#length = to + length
  }

  /** Writes the value of a string, unescaped where something in it is escaped. */
  #lengthPrefixedString(line: ArchivedLine, span: Span): void {
    if (span.start !== -1)
      for (let at = span.start; at < span.end; at += 1)
        if (line.bytes[at] === BACKSLASH) {
          const value = Buffer.from(line.text(span) as string)
          this.#lengthPrefixed(value, { start: 0, end: value.length })
          return
        }
    this.#lengthPrefixed(line.bytes, span)
  }

  #decimal(value: number): void {
    const scratch = this.#scratch
    let digits = 1
    for (let rest = value; rest >= 10; rest = Math.trunc(rest / 10)) digits += 1
    let at = this.#length + digits
    this.#length = at
    for (let rest = value; digits > 0; digits -= 1, rest = Math.trunc(rest / 10))
      scratch[--at] = 48 + (rest % 10)
  }

  #room(bytes: number): void {
    if (this.#length + bytes <= this.#scratch.length) return
    const larger = Buffer.alloc(2 * (this.#length + bytes))
    this.#scratch.copy(larger, 0, 0, this.#length)
    this.#scratch = larger
  }
}
