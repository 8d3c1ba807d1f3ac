import type { Db } from '../db/pool.ts'
import type { AppendRequest } from './newEvent.ts'

/** One row of starcite.append_events; sql/append_events.sql says what each outcome means. */
export interface OutcomeRow {
  readonly outcome:
    | 'appended'
    | 'deduped'
    | 'session_not_found'
    | 'session_erased'
    | 'producer_replay_conflict'
    | 'producer_seq_conflict'
    | 'expected_seq_conflict'
    | 'batch_refused'
  readonly sid: string
  readonly seq: number
  readonly lastSeq: number
  readonly expected: number
  readonly insertedAt: string
}

const APPEND_EVENTS = {
  name: 'append_events',
  text: `select a.outcome, a.sid, a.seq, a.last_seq, a.expected, a.inserted_at
           from starcite.append_events($1::text[], $2::text[], $3::text[], $4::json[], $5::text[], $6::text[],
                  $7::text[], $8::bigint[], $9::text[], $10::json[], $11::json[], $12::bigint[], $13::int[]) a
          order by a.ordinal`,
}

/** Appends all requests in one transaction. Answers the rows of each request, in its order. */
export async function appendEvents(db: Db, requests: readonly AppendRequest[]): Promise<OutcomeRow[][]> {
  const columns: (string | number | null)[][] = Array.from({ length: 13 }, () => [])
  requests.forEach((request, index) => {
    const batch = request.events.length > 1 ? index : null
    for (const event of request.events) {
      const values = [
        request.tenantId,
        request.sessionId,
        event.type,
        event.payload,
        event.actor,
        event.source,
        event.producerId,
        event.producerSeq,
        event.idempotencyKey,
        event.metadata,
        event.refs,
        event.expectedSeq,
        batch,
      ]
      values.forEach((value, column) => {
        columns[column]?.push(value)
      })
    }
  })
  const rows = (await db.query(APPEND_EVENTS, columns)).map(
    ([outcome, sid, seq, lastSeq, expected, insertedAt]): OutcomeRow => ({
      outcome: outcome as OutcomeRow['outcome'],
      sid: sid ?? '',
      seq: Number(seq),
      lastSeq: Number(lastSeq),
      expected: Number(expected),
      insertedAt: insertedAt ?? '',
    }),
  )
  let next = 0
  return requests.map((request) => {
    const own = rows.slice(next, next + request.events.length)
    next += request.events.length
    return own
  })
}

const BUSY_SESSIONS = {
  name: 'busy_sessions',
  text: 'select b.ordinal from starcite.busy_sessions($1::text[], $2::text[]) b (ordinal)',
}

/** Those of the requests whose session another transaction holds at this moment. */
export async function busySessions(db: Db, requests: readonly AppendRequest[]): Promise<Set<AppendRequest>> {
  const rows = await db.query(BUSY_SESSIONS, [
    requests.map((request) => request.tenantId),
    requests.map((request) => request.sessionId),
  ])
  return new Set(rows.map(([ordinal]) => requests[Number(ordinal) - 1] as AppendRequest))
}
