import { eventPageAnswer, sessionPageAnswer } from './http/answers.ts'
import type { Http, Query } from './http/http.ts'
import type { Session, SessionEvent } from './types.ts'

export interface HistoryOptions {
  /** `asc`: events after this seq, default 0. `desc`: events before it, default the end. */
  readonly cursor?: number
  readonly order?: 'asc' | 'desc'
  readonly type?: string
  readonly actor?: string
  /** Events in one request, 1 to 1000. Default 100. */
  readonly pageSize?: number
  readonly signal?: AbortSignal
}

export interface ListOptions {
  /** The id of the last session seen: the list continues after it. */
  readonly cursor?: string
  readonly archived?: boolean | 'all'
  /** Top-level members of the metadata. Sessions must have all of them. */
  readonly metadata?: Readonly<Record<string, string | number | boolean>>
  /** Sessions in one request, 1 to 1000. Default 100. */
  readonly pageSize?: number
  readonly signal?: AbortSignal
}

/**
 * The events of a session, page by page, up to the last one at the time of the last page. Without a filter there is no
 * gap: a gap rejects with `events_missing`.
 */
export async function* history<Events>(
  http: Http,
  path: string,
  { pageSize, signal, ...filter }: HistoryOptions,
): AsyncGenerator<SessionEvent<Events>, void, undefined> {
  const order = filter.order ?? 'asc'
  const isFiltered = filter.type !== undefined || filter.actor !== undefined
  for (let cursor = filter.cursor; ; ) {
    const query: Query = { ...filter, cursor, order, limit: pageSize }
    const read = eventPageAnswer<Events>({ cursor, order, isFiltered })
    const page = await http.answer({ path: `${path}/events`, query, signal, retry: true }, read)
    yield* page.events
    if (page.next_cursor === null || (order === 'asc' && page.next_cursor >= page.last_seq)) return
    cursor = page.next_cursor
  }
}

/** Sessions in the byte order of their ids, page by page. */
export async function* listSessions(
  http: Http,
  { cursor: from, archived, metadata = {}, pageSize, signal }: ListOptions,
): AsyncGenerator<Session, void, undefined> {
  const filters = Object.entries(metadata).map(([key, value]) => [`metadata.${key}`, value] as const)
  for (let cursor = from; ; ) {
    const query: Query = { ...Object.fromEntries(filters), archived, limit: pageSize, cursor }
    const call = { path: '/v1/sessions', query, signal, retry: true }
    const page = await http.answer(call, sessionPageAnswer(cursor))
    yield* page.sessions
    if (page.next_cursor === null) return
    cursor = page.next_cursor
  }
}
