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
  /** The `last_seq` that the session must be at; else `expected_seq_conflict`, with `current_seq`. */
  readonly expectedSeq?: number
  readonly signal?: AbortSignal
}

/** One session, by its id. Making one asks nothing of the server. */
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
   * One event, as an object or as JSON text, which is sent as it stands. Resolves once it is committed. Tried again by
   * itself only with producer fields; an outbox gives every event some.
   */
  append(event: NewEvent<Events> | string, options: AppendOptions = {}): Promise<Appended> {
    const text = eventText(event, { numbered: true })
    const call = this.#append('append', text, options, isNumbered(text))
    return this.#http.answer(call, appendedAnswer(options.expectedSeq))
  }

  /** Up to 1,000 events, all or none. A refusal's `details.index` says which event it is about. */
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

  /** What is there now, page by page, in either direction, of one type or actor. */
  history(options: HistoryOptions = {}): AsyncGenerator<SessionEvent<Events>, void, undefined> {
    return history(this.#http, this.path, options)
  }

  /** Everything after a cursor, and then what is appended next: in order, without gaps, without repeats. */
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

/** A dot or two would be taken out of the path, encoded or not: older sessions may have such an id. */
const pathOf = (id: string) =>
  id === '.' || id === '..' ? `/v1/session/=${id}` : `/v1/sessions/${encodeURIComponent(id)}`
