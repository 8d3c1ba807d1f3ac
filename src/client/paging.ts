import { StarciteError } from './errors.ts'
import type { Http, Query } from './http/http.ts'
import { elementsOf, readEvent } from './rawJson.ts'
import type { Session, SessionEvent } from './types.ts'

export interface HistoryOptions {
  /** `asc`: events after it, default 0. `desc`: events before it, default the end. */
  readonly cursor?: number
  readonly order?: 'asc' | 'desc'
  readonly type?: string
  readonly actor?: string
  /** Events asked for at a time, 1 to 1000. Default 100. */
  readonly pageSize?: number
  readonly signal?: AbortSignal
}

export interface ListOptions {
  /** The id of the last session seen. */
  readonly cursor?: string
  readonly archived?: boolean | 'all'
  /** Top-level members of the sessions' metadata, all of which must hold. */
  readonly metadata?: Readonly<Record<string, string | number | boolean>>
  /** Sessions asked for at a time, 1 to 1000. Default 100. */
  readonly pageSize?: number
  readonly signal?: AbortSignal
}

/** The beginning of a page of events, up to its array. */
const EVENTS = /^\s*\{\s*"events"\s*:\s*(?=\[)/

/** Events from one end to the other. It ends at what is the last event when it gets there. */
export async function* history<Events>(
  http: Http,
  path: string,
  { pageSize, signal, ...filter }: HistoryOptions,
): AsyncGenerator<SessionEvent<Events>, void, undefined> {
  const order = filter.order ?? 'asc'
  for (let cursor = filter.cursor; ; ) {
    const query: Query = { ...filter, cursor, order, limit: pageSize }
    const text = await http.text({ path: `${path}/events`, query, signal, retry: true })
    const start = EVENTS.exec(text)?.[0].length
    if (start === undefined) throw new StarciteError('invalid_answer', 'a page of events was expected')
    const events = elementsOf(text, start).map((raw) => readEvent<Events>(raw))
    const page = JSON.parse(text) as { next_cursor: number | null; last_seq: number }
    if (filter.type === undefined && filter.actor === undefined) refuseHole(events, cursor, order, page)
    yield* events
    if (page.next_cursor === null || (order === 'asc' && page.next_cursor >= page.last_seq)) return
    cursor = page.next_cursor
  }
}

/**
 * A page without a filter has every event between its cursor and the next one: each seq is known before it is read. What
 * an intermediary, or a damaged server, left out is refused, and nothing of such a page is shown.
 */
function refuseHole(
  events: readonly { readonly seq: number }[],
  cursor: number | undefined,
  order: 'asc' | 'desc',
  { next_cursor, last_seq }: { next_cursor: number | null; last_seq: number },
): void {
  const step = order === 'asc' ? 1 : -1
  let next =
    order === 'asc' ? (cursor ?? 0) + 1 : Math.min(cursor ?? Number.POSITIVE_INFINITY, last_seq + 1) - 1
  for (const { seq } of events) {
    if (seq !== next) throw missing(next, seq)
    next += step
  }
  const end = order === 'asc' ? (next_cursor ?? last_seq) + 1 : (next_cursor ?? 1) - 1
  const isPastTheStart = order === 'desc' && next < 1
  if (next !== end && !isPastTheStart) throw missing(next, end)
}

const missing = (seq: number, came: number) =>
  new StarciteError('events_missing', `event ${seq} is missing in a page of events: ${came} came instead`, {
    details: { cursor: seq - 1, seq: came },
  })

/** Sessions by id, bytewise. */
export async function* listSessions(
  http: Http,
  { cursor: from, archived, metadata = {}, pageSize, signal }: ListOptions,
): AsyncGenerator<Session, void, undefined> {
  const filters = Object.entries(metadata).map(([key, value]) => [`metadata.${key}`, value] as const)
  for (let cursor = from; ; ) {
    const query: Query = { ...Object.fromEntries(filters), archived, limit: pageSize, cursor }
    const page = await http.json<{ sessions: Session[]; next_cursor: string | null }>({
      path: '/v1/sessions',
      query,
      signal,
      retry: true,
    })
    yield* page.sessions
    if (page.next_cursor === null) return
    cursor = page.next_cursor
  }
}
