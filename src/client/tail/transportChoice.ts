export type TailTransport = 'auto' | 'websocket' | 'sse'

/** Handshakes that fail while the same server answers HTTP, before something in between is taken for the reason. */
const MAX_FAILED_HANDSHAKES = 2

/** Settles on the transport that works. */
export class TransportChoice {
  transport: 'websocket' | 'sse'
  readonly #mayFallBack: boolean
  #failedHandshakes = 0

  constructor(requested: TailTransport, hasWebSocket: boolean) {
    this.#mayFallBack = requested === 'auto'
    this.transport = requested === 'sse' || (requested === 'auto' && !hasWebSocket) ? 'sse' : 'websocket'
  }

  /** WebSockets come through here. */
  worked(): void {
    this.#failedHandshakes = Number.NEGATIVE_INFINITY
  }

  /** A handshake failed, and the same server answers HTTP. */
  failed(): void {
    this.#failedHandshakes += 1
    if (this.#mayFallBack && this.#failedHandshakes >= MAX_FAILED_HANDSHAKES) this.transport = 'sse'
  }
}
