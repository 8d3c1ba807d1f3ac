import type { Erasure } from './queries.ts'

/** Renders an erasure as JSON text: its only form on the wire. */
export function renderReceipt(erasure: Erasure): string {
  const { kind, firstSeq, lastSeq } = erasure
  return JSON.stringify({
    id: erasure.id,
    kind,
    session_id: erasure.sessionId,
    ...(kind === 'event' ? { seq: firstSeq } : { last_seq: lastSeq, chain_hash: erasure.chainHash }),
    status: erasure.isDone ? 'done' : 'pending',
    requested_at: erasure.requestedAt,
    ...given('completed_at', erasure.completedAt),
    ...given('subject', erasure.subject),
    ...given('request_id', erasure.requestId),
    ...given('reason', erasure.reason),
    removed: {
      hot_events: erasure.hotEvents,
      cold_events: erasure.coldEvents,
      objects: erasure.objects,
    },
    // `problem` names the store and its keys, so only operators see it, in starcite.erasures.
    ...(erasure.error !== null && { delayed: true }),
  })
}

const given = (name: string, value: string | null) => (value === null ? {} : { [name]: value })
