import { hash } from 'node:crypto'

/**
 * The hash chain of a session, as sql/framed.sql, genesis_hash.sql, content_digest.sql, event_link.sql,
 * event_fields.sql, chain_link.sql and chained_hash.sql define it. Pure functions: texts are hashed as UTF-8, hashes
 * are 32 bytes. docs/archive-vectors.json has test vectors.
 */

/** The forms of the chain. In a session, form 1 never follows form 2. */
export type ChainVersion = 1 | 2

export const HASH_BYTES = 32
export const SALT_BYTES = 16

/**
 * The prefix that form 2 hashes before the previous hash. It is longer than a hash, so no input of form 1 begins like
 * it.
 */
export const BEFORE_HASH = Buffer.from('36:starcite hash chain event, version 232:')
/** The prefix of the content's digest in a link of form 2. */
export const BEFORE_DIGEST = Buffer.from('32:')

/** The fields of an event that the chain covers beside its content. Absent fields are null. */
export interface EventFields {
  readonly chainVersion: ChainVersion
  readonly seq: number
  /** RFC 3339, UTC, six fractional digits, as in the rendered event. */
  readonly insertedAt: string
  readonly type: string
  readonly actor: string
  readonly source: string | null
  readonly producerId: string | null
  readonly producerSeq: number | null
  readonly idempotencyKey: string | null
  /** Null in form 1, which does not cover it. */
  readonly subject: string | null
  readonly contentDigest: Buffer
}

/** Writes the length before the value, so that concatenated values can be read in one way only. */
export function lengthPrefixed(value: string | number | null): string {
  if (value === null) return '-'
  const text = String(value)
  return `${Buffer.byteLength(text)}:${text}`
}

/** The previous hash of the event with seq 1. */
export function genesisHash(tenantId: string, sessionId: string): Buffer {
  return sha256(Buffer.from(`starcite/1${lengthPrefixed(tenantId)}${lengthPrefixed(sessionId)}`))
}

/** Digest of the salt (16 bytes) and the JSON texts as they were sent; null: absent. */
export function contentDigest(
  salt: Buffer,
  payload: string | null,
  metadata: string | null,
  refs: string | null,
): Buffer {
  return sha256(
    Buffer.concat([
      salt,
      Buffer.from(lengthPrefixed(payload) + lengthPrefixed(metadata) + lengthPrefixed(refs)),
    ]),
  )
}

/** What an event adds to its session's chain. It is computed without the content. */
export function eventLink(event: EventFields): Buffer {
  const fields =
    lengthPrefixed(event.seq) +
    lengthPrefixed(event.insertedAt) +
    lengthPrefixed(event.type) +
    lengthPrefixed(event.actor) +
    lengthPrefixed(event.source) +
    lengthPrefixed(event.producerId) +
    lengthPrefixed(event.producerSeq) +
    lengthPrefixed(event.idempotencyKey)
  if (event.chainVersion === 1) return Buffer.concat([event.contentDigest, Buffer.from(fields)])
  return Buffer.concat([
    BEFORE_DIGEST,
    event.contentDigest,
    Buffer.from(fields + lengthPrefixed(event.subject)),
  ])
}

/**
 * The hash of an event, from the hash of the event before (genesisHash, for the first one) and its link in that form.
 */
export function chainStep(version: ChainVersion, previous: Buffer, link: Buffer): Buffer {
  if (previous.length !== HASH_BYTES)
    throw new RangeError(`the previous hash has ${previous.length} bytes, not ${HASH_BYTES}`)
  return sha256(Buffer.concat(version === 1 ? [previous, link] : [BEFORE_HASH, previous, link]))
}

const sha256 = (bytes: Buffer): Buffer => hash('sha256', bytes, 'buffer')
