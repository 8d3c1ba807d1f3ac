import type { Db } from '../db/pool.ts'
import { textArray } from '../db/textArray.ts'
import type { AppendRequest, NewEvent } from './newEvent.ts'

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

/** To save bytes, default outcomes are sent as null: `appended`, and a last_seq that equals the seq. */
const APPEND_EVENTS = {
  name: 'append_events',
  notifies: true as const,
  text: `select nullif(a.outcome, 'appended'), a.sid, a.seq, nullif(a.last_seq, a.seq), a.expected, a.inserted_at
           from starcite.append_events(case when clock_timestamp() > $15::timestamptz then starcite.refuse_time($15) else $1::text[] end, $2::text[], $3::text[], $4::json[], $5::text[], $6::text[],
                  $7::text[], $8::bigint[], $9::text[], $10::json[], $11::json[], $12::bigint[], $13::int[], $14::text[]) a
          order by a.ordinal`,
}

/** A parameter with one value per event; null when no event has a value, to save bytes. */
function column<T>(items: readonly Item[], pick: (item: Item) => T | null): (T | null)[] | null {
  const values = items.map(pick)
  return values.every((value) => value === null) ? null : values
}

const texts = (values: Texts) => values && textArray('text', values)
const jsons = (values: Texts) => values && textArray('json', values)
type Texts = readonly (string | null)[] | null

/** The JSON text, or null for the default `{}`. */
const unlessEmpty = (json: string) => (json === '{}' ? null : json)

interface Item {
  readonly request: AppendRequest
  readonly event: NewEvent
  readonly batch: number | null
}

/**
 * Appends all requests in one transaction. Returns the rows of each request, in order. Postgres refuses the call (55SC1) when its
 * clock is past `latest`, in milliseconds since the epoch.
 */
export async function appendEvents(
  db: Db,
  requests: readonly AppendRequest[],
  latest: number | undefined,
): Promise<OutcomeRow[][]> {
  const items = requests.flatMap((request, index): Item[] => {
    const batch = request.events.length > 1 ? index : null
    return request.events.map((event) => ({ request, event, batch }))
  })
  const columns = [
    texts(column(items, ({ request }) => request.tenantId)),
    texts(column(items, ({ request }) => request.sessionId)),
    texts(column(items, ({ event }) => event.type)),
    jsons(column(items, ({ event }) => event.payload)),
    texts(column(items, ({ event }) => event.actor)),
    texts(column(items, ({ event }) => event.source)),
    texts(column(items, ({ event }) => event.producerId)),
    column(items, ({ event }) => event.producerSeq),
    texts(column(items, ({ event }) => event.idempotencyKey)),
    jsons(column(items, ({ event }) => unlessEmpty(event.metadata))),
    jsons(column(items, ({ event }) => unlessEmpty(event.refs))),
    column(items, ({ event }) => event.expectedSeq),
    column(items, ({ batch }) => batch),
    texts(column(items, ({ event }) => event.subject)),
    latest === undefined ? null : new Date(latest).toISOString(),
  ]
  const rows = (await db.query(APPEND_EVENTS, columns)).map(
    ([outcome, sid, seq, lastSeq, expected, insertedAt]): OutcomeRow => ({
      outcome: (outcome ?? 'appended') as OutcomeRow['outcome'],
      sid: sid ?? '',
      seq: Number(seq),
      lastSeq: Number(lastSeq ?? seq),
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

/** The requests whose session another transaction has locked at this moment. */
export async function busySessions(db: Db, requests: readonly AppendRequest[]): Promise<Set<AppendRequest>> {
  const rows = await db.query(BUSY_SESSIONS, [
    requests.map((request) => request.tenantId),
    requests.map((request) => request.sessionId),
  ])
  return new Set(rows.map(([ordinal]) => requests[Number(ordinal) - 1] as AppendRequest))
}
