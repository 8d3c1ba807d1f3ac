import { BEFORE_DIGEST, type ChainVersion, HASH_BYTES } from '../../archive/chain.ts'
import { expect } from './errors.ts'

/** The parts of a link, as eventLink writes them. */
export interface LinkParts {
  readonly contentDigest: Buffer
  /**
   * As length-prefixed: seq, time, type, actor, source, producer id, producer seq, idempotency key; in form 2 also
   * the subject.
   */
  readonly fields: readonly (string | null)[]
}

const FIELDS: Readonly<Record<ChainVersion, number>> = { 1: 8, 2: 9 }
const DASH = 0x2d
const LENGTH = /^(?:0|[1-9]\d{0,15})$/

/** Reads a link. Throws a ProofError when the bytes, to the last, are not a link of that form. */
export function linkParts(version: ChainVersion, link: Buffer): LinkParts {
  const before = version === 1 ? 0 : BEFORE_DIGEST.length
  expect(
    link.length > before + HASH_BYTES && link.subarray(0, before).equals(BEFORE_DIGEST.subarray(0, before)),
    'a link does not begin with a content digest',
  )
  const fields = unframed(link.subarray(before + HASH_BYTES))
  expect(fields.length === FIELDS[version], `a link has ${fields.length} fields, and not ${FIELDS[version]}`)
  return { contentDigest: link.subarray(before, before + HASH_BYTES), fields }
}

/** Reads values that lengthPrefixed wrote. Throws a ProofError at anything else. */
function unframed(bytes: Buffer): (string | null)[] {
  const values: (string | null)[] = []
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at] === DASH) {
      values.push(null)
      at += 1
      continue
    }
    const colon = bytes.indexOf(':', at)
    const digits = colon === -1 ? '' : bytes.toString('latin1', at, colon)
    const end = colon + 1 + Number(digits)
    expect(LENGTH.test(digits) && end <= bytes.length, 'a field of a link has no length')
    const value = bytes.toString('utf8', colon + 1, end)
    expect(Buffer.byteLength(value) === end - colon - 1, 'a field of a link is not text in UTF-8')
    values.push(value)
    at = end
  }
  return values
}
