import type { Http } from '../http/http.ts'
import type { SharedConnections } from './shared/sharedConnections.ts'
import { type TailTransport, TransportChoice } from './transportChoice.ts'
import type { WebSocketConstructor } from './webSocketLink.ts'

/**
 * What has a connection of its own. `tabs`: all tabs of the origin that have the same server and the same rights, where
 * the browser lets them find each other, else as `page`. `page`: all tails of one Starcite. `none`: each tail.
 */
export type Sharing = 'tabs' | 'page' | 'none'

/** The code for sharing is loaded in this time, or the tail opens a connection of its own. */
const LOAD_TIMEOUT_MS = 15_000

/** A page or worker of a browser: servers do not say whether they are online. */
const isBrowser = typeof (globalThis as { navigator?: { onLine?: boolean } }).navigator?.onLine === 'boolean'

/** The connections of one client's tails. */
export class Connections {
  readonly http: Http
  readonly WebSocket: WebSocketConstructor | undefined
  readonly #sharing: Sharing
  readonly #choices = new Map<TailTransport, TransportChoice>()
  #loading: Promise<SharedConnections | undefined> | undefined

  constructor(
    http: Http,
    WebSocket: WebSocketConstructor | undefined,
    sharing: Sharing = isBrowser ? 'tabs' : 'none',
  ) {
    this.http = http
    this.WebSocket = WebSocket
    this.#sharing = sharing
  }

  get areShared(): boolean {
    return this.#sharing !== 'none'
  }

  choice(requested: TailTransport): TransportChoice {
    const known = this.#choices.get(requested) ?? new TransportChoice(requested, this.WebSocket !== undefined)
    this.#choices.set(requested, known)
    return known
  }

  /** Undefined when the code for sharing cannot be loaded now; the next call tries again. */
  shared(): Promise<SharedConnections | undefined> {
    this.#loading ??= this.#load().then((shared) => {
      if (shared === undefined) this.#loading = undefined
      return shared
    })
    return this.#loading
  }

  async #load(): Promise<SharedConnections | undefined> {
    let timer: ReturnType<typeof setTimeout> | undefined
    const timeout = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), LOAD_TIMEOUT_MS)
    })
    try {
      const module = await Promise.race([import('./shared/sharedConnections.ts'), timeout])
      return module && new module.SharedConnections(this, this.#sharing === 'tabs')
    } catch {
      return undefined
    } finally {
      clearTimeout(timer)
    }
  }
}
