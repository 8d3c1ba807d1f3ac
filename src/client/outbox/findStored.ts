import type { Http } from '../http/http.ts'
import { history } from '../paging.ts'
import type { AnyEvents, Appended, SessionEvent } from '../types.ts'
import type { ProducerQueue, QueuedEvent } from './producerQueue.ts'

const PAGE_SIZE = 1000

/** Finds the queue's events that the session's history has, with the same numbers and the same content. */
export async function findStored(
  http: Http,
  path: string,
  { producerId, entries }: ProducerQueue,
  signal: AbortSignal,
): Promise<(readonly [QueuedEvent, Appended])[]> {
  const byNumber = new Map(
    entries.flatMap((it) => (it.number === undefined ? [] : [[it.number, it] as const])),
  )
  const first = Math.min(...byNumber.keys())
  const stored: (readonly [QueuedEvent, Appended])[] = []
  for await (const event of history<AnyEvents>(http, path, { order: 'desc', pageSize: PAGE_SIZE, signal })) {
    if (event.producer_id !== producerId || event.producer_seq === undefined) continue
    const entry = byNumber.get(event.producer_seq)
    if (entry !== undefined && isSame(event, entry))
      stored.unshift([entry, { ...placeOf(event), deduped: true }])
    if (event.producer_seq <= first) break
  }
  return stored
}

const placeOf = ({ seq }: SessionEvent) => ({ seq, last_seq: seq, cursor: seq, committed_cursor: seq })

/** Whether the stored event is the queued one. An event whose content was erased is compared by its number only. */
function isSame(stored: SessionEvent, { event }: QueuedEvent): boolean {
  const sent = JSON.parse(event) as { type: unknown; payload: unknown }
  return stored.redacted === true || isEqual([stored.type, stored.payload], [sent.type, sent.payload])
}

/** Deep equality of values parsed from JSON. */
function isEqual(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b
  const [keys, others] = [Object.keys(a), Object.keys(b)]
  return (
    Array.isArray(a) === Array.isArray(b) &&
    keys.length === others.length &&
    keys.every((key) => isEqual((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]))
  )
}
