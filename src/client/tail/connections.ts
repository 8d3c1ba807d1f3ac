import type { Http } from '../http/http.ts'
import type { SharedConnections } from './shared/sharedConnections.ts'
import { type TailTransport, TransportChoice } from './transportChoice.ts'
import type { WebSocketConstructor } from './webSocketLink.ts'

/**
 * Which tails share one connection. `tabs`: those of all tabs of the origin with the same server and rights, if the browser has
 * Web Locks and BroadcastChannel, else as `page`. `page`: those of one client. `none`: each tail has its own.
 */
export type Sharing = 'tabs' | 'page' | 'none'

/** When the code for sharing is not loaded by then, the tail opens a connection of its own. */
const LOAD_TIMEOUT_MS = 15_000

/** Whether this is a page or worker of a browser. Only these have `navigator.onLine`. */
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
