import { StarciteError } from '../errors.ts'
import { sessionAnswer } from '../http/answers.ts'
import { type Fetch, Http } from '../http/http.ts'
import { type TokenSource, Tokens } from '../http/tokens.ts'
import { type ListOptions, listSessions } from '../paging.ts'
import { Connections, type Sharing } from '../tail/connections.ts'
import type { WebSocketConstructor } from '../tail/webSocketLink.ts'
import type { AnyEvents, NewSession, Session, SessionPatch } from '../types.ts'
import { SessionHandle } from './session.ts'

export interface StarciteOptions {
  /** Of a node, or of the load balancer before it: `http://localhost:4000`. */
  readonly url: string
  /** A JWT, or a function that gets one: called at first, and again when the server refuses or ends the last. */
  readonly token?: TokenSource
  /** Default: the global one. */
  readonly fetch?: Fetch
  /** Default: the global one. Node.js has none before 22: hand it that of the `ws` package, or tail by SSE. */
  readonly WebSocket?: WebSocketConstructor
  /**
   * Which tails have one connection together: those of all `tabs` of the origin that have the same server and rights,
   * those of this client (`page`), or `none`. Default: `tabs` in browsers, `none` on servers.
   */
  readonly share?: Sharing
}

/**
 * A client of one Starcite, for one principal. `Events` maps event types to their payloads:
 * `new Starcite<{ content: { text: string } }>(…)`. Calls reject with StarciteError.
 */
export class Starcite<Events = AnyEvents> {
  readonly #http: Http
  protected readonly connections: Connections

  constructor(options: StarciteOptions) {
    if (!/^https?:\/\//.test(options.url))
      throw new StarciteError('invalid_url', `url must begin with http:// or https://; it is ${options.url}`)
    const fetch = options.fetch ?? ((url, init) => globalThis.fetch(url, init))
    this.#http = new Http(options.url, new Tokens(options.token), fetch)
    const WebSocket = options.WebSocket ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket
    this.connections = new Connections(this.#http, WebSocket, options.share)
  }

  /** A session by its id; nothing is asked of the server yet. */
  session(id: string): SessionHandle<Events> {
    return new SessionHandle(this.connections, id)
  }

  createSession(session: NewSession = {}): Promise<Session> {
    const call = { method: 'POST', path: '/v1/sessions', body: JSON.stringify(session) }
    return this.#http.answer(call, sessionAnswer(session.id))
  }

  getSession(id: string): Promise<Session> {
    return this.session(id).get()
  }

  /** By id, page after page; unless told otherwise, those that are not archived. */
  listSessions(options: ListOptions = {}): AsyncGenerator<Session, void, undefined> {
    return listSessions(this.#http, options)
  }

  patch(id: string, patch: SessionPatch): Promise<Session> {
    return this.session(id).patch(patch)
  }

  archive(id: string): Promise<Session> {
    return this.session(id).archive()
  }

  unarchive(id: string): Promise<Session> {
    return this.session(id).unarchive()
  }
}
