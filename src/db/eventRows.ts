import { type RenderedEvent, renderEvent } from '../protocol/event.ts'

/**
 * The columns of a rendered event, of a row of events called `e`. to_json writes a timestamp as ISO 8601 regardless
 * of DateStyle, several times faster than to_char.
 */
export const EVENT_COLUMNS = `e.seq, e.type, e.payload::text, e.actor, e.source, e.producer_id, e.producer_seq,
  e.idempotency_key, e.metadata::text, e.refs::text, to_json(e.inserted_at at time zone 'UTC')::text, e.subject`

/**
 * content_digest, hash and salt of a row of events called `e`, in one value. Null when one of them has the wrong
 * length, so that no byte of one is read as part of its neighbour.
 */
export const CHAIN_COLUMNS = `case when octet_length(e.content_digest) = 32 and octet_length(e.hash) = 32
       and octet_length(coalesce(e.salt, '\\x00000000000000000000000000000000')) = 16
  then encode(e.content_digest || e.hash || coalesce(e.salt, ''), 'hex') end, e.chain_version`

/** The number of those columns. */
export const CHAIN_COLUMN_COUNT = 2

export interface ChainOfRow {
  /** Lower-case hex; empty when the lengths are wrong. */
  readonly contentDigest: string
  readonly hash: string
  /** Null once the content was erased. */
  readonly salt: string | null
  readonly chainVersion: number
}

/** Decodes a row in which CHAIN_COLUMNS begin at index `from`. */
export function decodeChain(row: readonly (string | null)[], from: number): ChainOfRow {
  const hashes = row[from] ?? ''
  return {
    contentDigest: hashes.slice(0, 64),
    hash: hashes.slice(64, 128),
    salt: hashes.slice(128) || null,
    chainVersion: Number(row[from + 1]),
  }
}

/** A finite time in microseconds since 1970, exactly. */
export const microsecondsOf = (time: string): string => `(extract(epoch from ${time}) * 1000000)::bigint`

/** A time in microseconds since 1970, exactly; 0 for the infinite time of a session without events. */
export const headMicrosecondsOf = (time: string): string =>
  `case when isfinite(${time}) then ${microsecondsOf(time)} else 0 end`

/** The size of an event in bytes. octet_length reads the header of a toasted value and does not unpack it. */
export const EVENT_BYTES =
  'coalesce(octet_length(e.payload::text) + octet_length(e.metadata::text) + octet_length(e.refs::text), 0)'

/** The value of payload, metadata and refs once the content is erased; the row has null. */
const ERASED = '{}'

/** Decodes the event of a row in which EVENT_COLUMNS begin at index `from`. */
export function decodeEvent(row: readonly (string | null)[], from: number): RenderedEvent {
  const text = (i: number) => row[from + i] as string
  const orNull = (i: number) => row[from + i] ?? null
  const producerSeq = orNull(6)
  return renderEvent({
    seq: Number(text(0)),
    type: text(1),
    payload: orNull(2) ?? ERASED,
    actor: text(3),
    subject: orNull(11),
    source: orNull(4),
    producerId: orNull(5),
    producerSeq: producerSeq === null ? null : Number(producerSeq),
    idempotencyKey: orNull(7),
    metadata: orNull(8) ?? ERASED,
    refs: orNull(9) ?? ERASED,
    insertedAt: wireTime(text(10)),
    redacted: orNull(2) === null,
  })
}

/** Converts "2026-11-23T14:25:25.41" with its quotes, as to_json writes it, to 2026-11-23T14:25:25.410000Z. */
function wireTime(quoted: string): string {
  return `${quoted.slice(1, 20)}.${quoted.slice(21, -1).padEnd(6, '0')}Z`
}
