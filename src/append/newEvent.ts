import type { StoredEvent } from '../protocol/event.ts'

/** An event to be appended, already validated. `payload`, `metadata` and `refs` are JSON text, exactly as sent. */
export interface NewEvent extends Omit<StoredEvent, 'seq' | 'insertedAt'> {
  readonly expectedSeq: number | null
}

/** Events of one session that are stored in this order, all or none. Most requests have one event. */
export interface AppendRequest {
  readonly tenantId: string
  readonly sessionId: string
  readonly events: readonly NewEvent[]
  /** Whether the events were sent as a batch, so that an error has the index of its event. */
  readonly isBatch: boolean
  /** The size of the request's JSON, which queues limit. */
  readonly bytes: number
}

export interface Appended {
  readonly seq: number
  readonly deduped: boolean
}

export interface AppendResult {
  readonly results: readonly Appended[]
  /** The newest seq of the session after these events. */
  readonly lastSeq: number
}

/** Whether a request can be sent again: Postgres deduplicates events that have a producer. */
export function isSafeToRepeat(request: AppendRequest): boolean {
  return request.events.every((event) => event.producerId !== null)
}
