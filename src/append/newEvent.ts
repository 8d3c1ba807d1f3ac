import type { StoredEvent } from '../protocol/event.ts'

/** An event to be appended, already validated. `payload`, `metadata` and `refs` are JSON text, exactly as sent. */
export interface NewEvent extends Omit<StoredEvent, 'seq' | 'insertedAt'> {
  readonly expectedSeq: number | null
}

/** Events of one session that are stored all or none, in this order. Most have one event. */
export interface AppendRequest {
  readonly tenantId: string
  readonly sessionId: string
  readonly events: readonly NewEvent[]
  /** Sent as a batch, be it of one: a refusal names the index of its event. */
  readonly isBatch: boolean
  /** Size of the request's JSON, which is what it weighs in queues. */
  readonly bytes: number
}

export interface Appended {
  readonly seq: number
  readonly deduped: boolean
}

export interface AppendResult {
  readonly results: readonly Appended[]
  /** The session's last seq after the last of these events. */
  readonly lastSeq: number
}

/** A retry is safe only when Postgres would recognise every event again. */
export function isSafeToRepeat(request: AppendRequest): boolean {
  return request.events.every((event) => event.producerId !== null)
}
