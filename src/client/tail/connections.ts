import type { Http } from '../http/http.ts'
import { isBrowser, type TabTools, tabTools } from './shared/browser.ts'
import { Hub } from './shared/hub.ts'
import { identityOf } from './shared/identity.ts'
import type { Live } from './shared/live.ts'
import { PROTOCOL } from './shared/messages.ts'
import { Tabs } from './shared/tabs.ts'
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
  readonly #tools: TabTools | undefined
  readonly #choices = new Map<TailTransport, TransportChoice>()
  /** By transport and by whom the token is for: what one may see is not asked for with the token of another. */
  readonly #shared = new Map<string, Live>()

  constructor(
    http: Http,
    WebSocket: WebSocketConstructor | undefined,
    sharing: Sharing = isBrowser ? 'tabs' : 'none',
  ) {
    this.http = http
    this.WebSocket = WebSocket
    this.#sharing = sharing
    this.#tools = sharing === 'tabs' ? tabTools() : undefined
  }

  get areShared(): boolean {
    return this.#sharing !== 'none'
  }

  choice(wanted: TailTransport): TransportChoice {
    const known = this.#choices.get(wanted) ?? new TransportChoice(wanted, this.WebSocket !== undefined)
    this.#choices.set(wanted, known)
    return known
  }

  /** The connection that tails with this token share. */
  async shared(wanted: TailTransport, token: string | undefined): Promise<Live> {
    const whose = JSON.stringify([PROTOCOL, this.http.url(''), wanted, identityOf(token)])
    const name = this.#tools === undefined ? whose : `starcite ${await this.#tools.sha256(whose)}`
    const known = this.#shared.get(name)
    if (known !== undefined) return known
    const live = this.#open(wanted, name)
    this.#shared.set(name, live)
    return live
  }

  #open(wanted: TailTransport, name: string): Live {
    const forget = () => this.#shared.delete(name)
    const openHub = (onIdle: () => void) => new Hub(this.http, this.choice(wanted), this.WebSocket, onIdle)
    if (this.#tools !== undefined) return new Tabs(name, this.#tools, openHub, forget)
    const hub: Hub = openHub(() => {
      forget()
      hub.close({ at: 'broken', reason: 'closed by this side' })
    })
    return hub
  }
}
