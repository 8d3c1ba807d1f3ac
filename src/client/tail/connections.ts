import type { Http } from '../http/http.ts'
import { isBrowser, type TabApis, tabApis } from './shared/browser.ts'
import { Hub } from './shared/hub.ts'
import type { LiveFeed } from './shared/liveFeed.ts'
import { PROTOCOL } from './shared/messages.ts'
import { TabGroup } from './shared/tabGroup.ts'
import { sharingKeyOf } from './shared/tokenClaims.ts'
import { type TailTransport, TransportChoice } from './transportChoice.ts'
import type { WebSocketConstructor } from './webSocketLink.ts'

/**
 * What has a connection of its own. `tabs`: all tabs of the origin that have the same server and the same rights, where
 * the browser lets them find each other, else as `page`. `page`: all tails of one Starcite. `none`: each tail.
 */
export type Sharing = 'tabs' | 'page' | 'none'

/** What the tails of one client connect by. */
export class Connections {
  readonly http: Http
  readonly WebSocket: WebSocketConstructor | undefined
  readonly #sharing: Sharing
  readonly #apis: TabApis | undefined
  readonly #choices = new Map<TailTransport, TransportChoice>()
  /** By transport and by whom the token is for: what one may see is not asked for with the token of another. */
  readonly #shared = new Map<string, LiveFeed>()

  constructor(
    http: Http,
    WebSocket: WebSocketConstructor | undefined,
    sharing: Sharing = isBrowser ? 'tabs' : 'none',
  ) {
    this.http = http
    this.WebSocket = WebSocket
    this.#sharing = sharing
    this.#apis = sharing === 'tabs' ? tabApis() : undefined
  }

  get areShared(): boolean {
    return this.#sharing !== 'none'
  }

  choice(requested: TailTransport): TransportChoice {
    const known = this.#choices.get(requested) ?? new TransportChoice(requested, this.WebSocket !== undefined)
    this.#choices.set(requested, known)
    return known
  }

  /** The connection that tails with this token share. */
  async shared(requested: TailTransport, token: string | undefined): Promise<LiveFeed> {
    const whose = JSON.stringify([PROTOCOL, this.http.url(''), requested, sharingKeyOf(token)])
    const name = this.#apis === undefined ? whose : `starcite ${await this.#apis.sha256(whose)}`
    const known = this.#shared.get(name)
    if (known !== undefined) return known
    const live = this.#open(requested, name)
    this.#shared.set(name, live)
    return live
  }

  #open(requested: TailTransport, name: string): LiveFeed {
    const forget = () => this.#shared.delete(name)
    const openHub = (onIdle: () => void) => new Hub(this.http, this.choice(requested), this.WebSocket, onIdle)
    if (this.#apis !== undefined) return new TabGroup(name, this.#apis, openHub, forget)
    const hub: Hub = openHub(() => {
      forget()
      hub.close({ at: 'broken', reason: 'closed by this side' })
    })
    return hub
  }
}
