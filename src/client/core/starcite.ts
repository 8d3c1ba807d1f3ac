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
  /** The URL of a node, or of the load balancer in front of the nodes: `http://localhost:4000`. */
  readonly url: string
  /** A JWT, or a function that fetches one. It is called first, and again when the server rejects the token or it expires. */
  readonly token?: TokenSource
  /** Default: the global `fetch`. */
  readonly fetch?: Fetch
  /** Default: the global `WebSocket`. Node.js before 22 has none: pass that of the `ws` package, or tail over SSE. */
  readonly WebSocket?: WebSocketConstructor
  /**
   * Which tails share one connection: those of all `tabs` of the origin with the same server and rights, those of this
   * client (`page`), or `none`. Default: `tabs` in browsers, `none` on servers.
   */
  readonly share?: Sharing
}

/**
 * A client of one Starcite server, for one principal. `Events` maps event types to their payloads:
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

  /** A session by its id. Creating the handle sends no request. */
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

  /** Sessions by id, page by page. Default: those that are not archived. */
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
