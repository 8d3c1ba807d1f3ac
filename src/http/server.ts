import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type Koa from 'koa'
import { answerMalformed } from './errors.ts'
import { bridgeUpgrades } from './transports/upgrade.ts'

/** Longer than the idle time-outs of common load balancers (60 s), so that they close first, never into a request. */
const KEEP_ALIVE_MS = 75_000
/** From its first byte, a request has this long to arrive. */
const REQUEST_TIMEOUT_MS = 60_000
const HEADERS_TIMEOUT_MS = 20_000
/** How often Node looks for requests past those. */
const CHECK_INTERVAL_MS = 5000

/** While draining: a connection is closed this soon after its last answer. */
const IDLE_CHECK_MS = 50

/** An HTTP server that listens. */
export class HttpServer {
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
  }

  /** Resolves when it listens; rejects when the port is taken (EADDRINUSE) or not allowed (EACCES). */
  static start(app: Koa, port: number, host: string | undefined): Promise<HttpServer> {
    const server = createServer({
      keepAliveTimeout: KEEP_ALIVE_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: CHECK_INTERVAL_MS,
      noDelay: true,
    })
    const handler = app.callback()
    server.on('request', handler)
    bridgeUpgrades(server, handler)
    answerMalformed(server)
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, host, () => {
        server.off('error', reject)
        resolve(new HttpServer(server))
      })
    })
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Accepts nothing new; resolves when the requests under way are answered. */
  drain(): Promise<void> {
    return new Promise((resolve) => {
      const closing = setInterval(() => this.#server.closeIdleConnections(), IDLE_CHECK_MS)
      this.#server.close(() => {
        clearInterval(closing)
        resolve()
      })
    })
  }

  /** Cuts what is left. */
  stop(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }
}
