import type { EventPage } from '../../http/answers.ts'
import type { Http } from '../../http/http.ts'
import type { AnyEvents } from '../../types.ts'
import type { Cursor } from '../cursor.ts'
import type { PageReader } from '../pageReader.ts'
import type { TailTransport, TransportChoice } from '../transportChoice.ts'
import type { WebSocketConstructor } from '../webSocketLink.ts'
import { type TabApis, tabApis } from './browser.ts'
import { Hub } from './hub.ts'
import type { LiveFeed } from './liveFeed.ts'
import { PROTOCOL } from './messages.ts'
import { SharedLink } from './sharedLink.ts'
import { TabGroup } from './tabGroup.ts'
import { expiryOf, sharingKeyOf } from './tokenClaims.ts'

/** The wait before a token is checked again that has expired by the local clock, but that the server accepted. */
const RECHECK_TOKEN_MS = 60_000

interface ConnectionFactory {
  readonly http: Http
  readonly WebSocket: WebSocketConstructor | undefined
  choice(requested: TailTransport): TransportChoice
}

export interface SharedTail {
  readonly sessionId: string
  readonly pages: PageReader
  readonly transport: TailTransport
  /** False when the tail ends with the last event, and needs no connection. */
  readonly follow: boolean
}

/**
 * The connections that tails of one client share, with other tabs where `acrossTabs` and the browser allow it. Loaded
 * when the first tail needs it, because it is a third of the client's code.
 */
export class SharedConnections {
  readonly #factory: ConnectionFactory
  readonly #apis: TabApis | undefined
  /** Feeds by transport and sharing key of the token: no tail uses a connection with another principal's token. */
  readonly #feeds = new Map<string, LiveFeed>()

  constructor(factory: ConnectionFactory, acrossTabs: boolean) {
    this.#factory = factory
    this.#apis = acrossTabs ? tabApis() : undefined
  }

  /** Opens a tail whose first page is already being read. `onToken` receives the token of the connection. */
  async open(
    tail: SharedTail,
    firstPage: Promise<EventPage<AnyEvents>>,
    cursor: Cursor,
    signal: AbortSignal,
    onToken: (token: string | undefined) => void,
  ): Promise<SharedLink> {
    let token: string | undefined
    const follow = async (end: Cursor, link: SharedLink) => {
      token = await this.#factory.http.tokens.current()
      onToken(token)
      return (await this.#feed(tail.transport, token)).subscribe(tail.sessionId, end, link)
    }
    const live = tail.follow ? follow : undefined
    const link = await SharedLink.open(tail.pages, firstPage, live, cursor, signal)
    const expiry = tail.follow ? expiryOf(token) : undefined
    if (expiry !== undefined) link.endIn(expiry > Date.now() ? expiry - Date.now() : RECHECK_TOKEN_MS)
    return link
  }

  /** The connection that tails with the rights of this token share. */
  async #feed(transport: TailTransport, token: string | undefined): Promise<LiveFeed> {
    const key = JSON.stringify([PROTOCOL, this.#factory.http.url(''), transport, sharingKeyOf(token)])
    const name = this.#apis === undefined ? key : `starcite ${await this.#apis.sha256(key)}`
    const known = this.#feeds.get(name)
    if (known !== undefined) return known
    const feed = this.#newFeed(transport, name)
    this.#feeds.set(name, feed)
    return feed
  }

  #newFeed(transport: TailTransport, name: string): LiveFeed {
    const { http, WebSocket } = this.#factory
    const forget = () => this.#feeds.delete(name)
    const openHub = (onIdle: () => void) => new Hub(http, this.#factory.choice(transport), WebSocket, onIdle)
    if (this.#apis !== undefined) return new TabGroup(name, this.#apis, openHub, forget)
    const hub: Hub = openHub(() => {
      forget()
      hub.close({ at: 'broken', reason: 'closed by the client' })
    })
    return hub
  }
}
