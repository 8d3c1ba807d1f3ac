export type TailTransport = 'auto' | 'websocket' | 'sse'

/** After this many failed handshakes, while the same server answers HTTP, an intermediary is assumed to block WebSockets. */
const MAX_FAILED_HANDSHAKES = 2

/** Chooses the transport that works. */
export class TransportChoice {
  transport: 'websocket' | 'sse'
  readonly #mayFallBack: boolean
  #failedHandshakes = 0

  constructor(requested: TailTransport, hasWebSocket: boolean) {
    this.#mayFallBack = requested === 'auto'
    this.transport = requested === 'sse' || (requested === 'auto' && !hasWebSocket) ? 'sse' : 'websocket'
  }

  /** Records that a WebSocket was opened. */
  worked(): void {
    this.#failedHandshakes = Number.NEGATIVE_INFINITY
  }

  /** Records that a handshake failed while the same server answered HTTP. */
  failed(): void {
    this.#failedHandshakes += 1
    if (this.#mayFallBack && this.#failedHandshakes >= MAX_FAILED_HANDSHAKES) this.transport = 'sse'
  }
}
