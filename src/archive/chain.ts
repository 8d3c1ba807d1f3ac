import { hash } from 'node:crypto'

/**
 * The hash chain of a session, as sql/framed.sql, genesis_hash.sql, content_digest.sql, event_link.sql, event_fields.sql,
 * chain_link.sql and chained_hash.sql define it. Pure; texts are hashed as UTF-8, hashes are 32 bytes.
 */

/** The forms of the chain. In a session form 2 is never followed by form 1. */
export type ChainVersion = 1 | 2

export const HASH_BYTES = 32
export const SALT_BYTES = 16

/** What form 2 hashes before the hash of the event before. Longer than a hash, so nothing of form 1 begins like it. */
export const BEFORE_HASH = Buffer.from('36:starcite hash chain event, version 232:')
/** What the link of form 2 has before the content's digest. */
export const BEFORE_DIGEST = Buffer.from('32:')

/** What the chain covers of an event beside its content. What was not given is null. */
export interface EventFields {
  readonly chainVersion: ChainVersion
  readonly seq: number
  /** RFC 3339, UTC, six fractional digits, as in its frame. */
  readonly insertedAt: string
  readonly type: string
  readonly actor: string
  readonly source: string | null
  readonly producerId: string | null
  readonly producerSeq: number | null
  readonly idempotencyKey: string | null
  /** Form 1 does not cover it, so there it is null. */
  readonly subject: string | null
  readonly contentDigest: Buffer
}

/** A value made self-delimiting, so that values one after the other have one reading only. */
export function lengthPrefixed(value: string | number | null): string {
  if (value === null) return '-'
  const text = String(value)
  return `${Buffer.byteLength(text)}:${text}`
}

/** Stands for "the previous hash" at seq 1. */
export function genesisHash(tenantId: string, sessionId: string): Buffer {
  return sha256(Buffer.from(`starcite/1${lengthPrefixed(tenantId)}${lengthPrefixed(sessionId)}`))
}

/** Of the salt and the JSON texts as they were sent (null: not there). The salt is 16 bytes. */
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

/** What an event adds to its session's chain; computed without its content. */
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

/** The hash of an event: from the hash of the one before (genesisHash, before the first) and its link in that form. */
export function chainStep(version: ChainVersion, previous: Buffer, link: Buffer): Buffer {
  if (previous.length !== HASH_BYTES) throw new RangeError(`a hash of ${previous.length} bytes`)
  return sha256(Buffer.concat(version === 1 ? [previous, link] : [BEFORE_HASH, previous, link]))
}

const sha256 = (bytes: Buffer): Buffer => hash('sha256', bytes, 'buffer')
