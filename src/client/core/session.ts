import { eventText, isNumbered } from '../eventText.ts'
import { appendedAnswer, batchAnswer, sessionAnswer } from '../http/answers.ts'
import type { Call, Http } from '../http/http.ts'
import { type HistoryOptions, history } from '../paging.ts'
import type { Connections } from '../tail/connections.ts'
import { Tail, type TailOptions } from '../tail/tail.ts'
import type {
  AnyEvents,
  Appended,
  BatchAppended,
  NewEvent,
  Session,
  SessionEvent,
  SessionPatch,
} from '../types.ts'

export interface AppendOptions {
  /** The append fails with `expected_seq_conflict` (and `current_seq`) unless the session's `last_seq` is this. */
  readonly expectedSeq?: number
  readonly signal?: AbortSignal
}

/** One session, by its id. Creating a handle sends no request. */
export class SessionHandle<Events = AnyEvents> {
  readonly id: string
  protected readonly connections: Connections
  protected readonly path: string
  readonly #http: Http

  constructor(connections: Connections, id: string) {
    this.id = id
    this.connections = connections
    this.#http = connections.http
    this.path = pathOf(id)
  }

  get(options: { signal?: AbortSignal } = {}): Promise<Session> {
    const call = { path: this.path, signal: options.signal, retry: true }
    return this.#http.answer(call, sessionAnswer(this.id))
  }

  patch(patch: SessionPatch): Promise<Session> {
    const call = { method: 'PATCH', path: this.path, body: JSON.stringify(patch) }
    return this.#http.answer(call, sessionAnswer(this.id))
  }

  archive(): Promise<Session> {
    const call = { method: 'POST', path: `${this.path}/archive`, retry: true }
    return this.#http.answer(call, sessionAnswer(this.id, true))
  }

  unarchive(): Promise<Session> {
    const call = { method: 'POST', path: `${this.path}/unarchive`, retry: true }
    return this.#http.answer(call, sessionAnswer(this.id, false))
  }

  /**
   * Appends one event, given as an object or as JSON text that is sent unchanged. Resolves once it is committed. Only an
   * event with producer fields is retried; an outbox sets them on every event.
   */
  append(event: NewEvent<Events> | string, options: AppendOptions = {}): Promise<Appended> {
    const text = eventText(event, { numbered: true })
    const call = this.#append('append', text, options, isNumbered(text))
    return this.#http.answer(call, appendedAnswer(options.expectedSeq))
  }

  /** Appends up to 1,000 events, all or none. `details.index` of an error is the position of the rejected event. */
  appendMany(
    events: readonly (NewEvent<Events> | string)[],
    options: AppendOptions = {},
  ): Promise<BatchAppended> {
    const texts = events.map((event) => eventText(event, { numbered: true }))
    const body = `{"events":[${texts.join(',')}]}`
    const call = this.#append('events', body, options, texts.every(isNumbered))
    const sent = { count: events.length, expectedSeq: options.expectedSeq }
    return this.#http.answer(call, batchAnswer(sent))
  }

  /** The events that exist now, page by page, in either direction, optionally of one type or actor. */
  history(options: HistoryOptions = {}): AsyncGenerator<SessionEvent<Events>, void, undefined> {
    return history(this.#http, this.path, options)
  }

  /** All events after a cursor, then new events as they are appended: in order, without gaps, without repeats. */
  tail(options: TailOptions = {}): AsyncGenerator<SessionEvent<Events>, void, undefined> {
    return new Tail<Events>(this.connections, this.id, this.path, options).events()
  }

  #append(verb: string, text: string, { expectedSeq, signal }: AppendOptions, retry: boolean): Call {
    const body = withExpectedSeq(text, expectedSeq)
    return { method: 'POST', path: `${this.path}/${verb}`, body, retry, signal }
  }
}

function withExpectedSeq(text: string, expectedSeq: number | undefined): string {
  return expectedSeq === undefined ? text : `{"expected_seq":${expectedSeq},${text.slice(1)}`
}

/** URL parsers remove `.` and `..` from paths, encoded or not. Older sessions may have such an id. */
const pathOf = (id: string) =>
  id === '.' || id === '..' ? `/v1/session/=${id}` : `/v1/sessions/${encodeURIComponent(id)}`
