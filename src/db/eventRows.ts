import { type Frame, renderEvent } from '../protocol/event.ts'

/**
 * The columns that make a frame, of a row of events called `e`. to_json writes a timestamp as ISO 8601 whatever DateStyle
 * says, several times faster than to_char.
 */
export const EVENT_COLUMNS = `e.seq, e.type, e.payload::text, e.actor, e.source, e.producer_id, e.producer_seq,
  e.idempotency_key, e.metadata::text, e.refs::text, to_json(e.inserted_at at time zone 'UTC')::text`

/** What an event weighs. octet_length of a toasted value is read off its header, so weighing does not unpack it. */
export const EVENT_BYTES =
  'coalesce(octet_length(e.payload::text) + octet_length(e.metadata::text) + octet_length(e.refs::text), 0)'

/** What stands for each part of an event's content once it is erased, and null in its row. */
const ERASED = '{}'

/** The frame of a row in which EVENT_COLUMNS begin at index `from`. */
export function decodeEvent(row: readonly (string | null)[], from: number): Frame {
  const text = (i: number) => row[from + i] as string
  const orNull = (i: number) => row[from + i] ?? null
  const producerSeq = orNull(6)
  return renderEvent({
    seq: Number(text(0)),
    type: text(1),
    payload: orNull(2) ?? ERASED,
    actor: text(3),
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

/** "2026-11-23T14:25:25.41" with its quotes, as to_json gives it, to 2026-11-23T14:25:25.410000Z. */
function wireTime(quoted: string): string {
  return `${quoted.slice(1, 20)}.${quoted.slice(21, -1).padEnd(6, '0')}Z`
}
