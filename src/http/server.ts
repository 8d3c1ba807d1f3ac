import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type Koa from 'koa'
import { AppError } from '../protocol/errors.ts'
import { answerMalformed } from './errors.ts'
import { answerRaw } from './rawAnswer.ts'
import { bridgeUpgrades } from './transports/upgrade.ts'

export interface HttpTimeouts {
  /** How long a connection is kept for another request. */
  readonly keepAliveMs: number
  /** From its first byte, a request has this long to arrive. */
  readonly requestMs: number
  readonly headersMs: number
  /** How often Node looks for requests past those. */
  readonly checkIntervalMs: number
}

export const HTTP_TIMEOUTS: HttpTimeouts = {
  keepAliveMs: 75_000, // past the idle time-outs of common load balancers (60 s): they close first, never into a request
  requestMs: 60_000,
  headersMs: 20_000,
  checkIntervalMs: 5000,
}

/** While draining: a connection is closed this soon after its last answer. */
const IDLE_CHECK_MS = 50

const NO_HOST = new AppError('bad_request', 'the request is not valid HTTP/1.1: it has no Host')

const lacksHost = ({ headers, httpVersion }: IncomingMessage): boolean =>
  headers.host === undefined && httpVersion === '1.1'

/** An HTTP server that listens. */
export class HttpServer {
  readonly #server: Server
  readonly #connections = new Set<Socket>()

  private constructor(server: Server) {
    this.#server = server
    server.on('connection', (socket: Socket) => {
      this.#connections.add(socket)
      socket.once('close', () => this.#connections.delete(socket))
    })
  }

  /** Resolves when it listens; rejects when the port is taken (EADDRINUSE) or not allowed (EACCES). */
  static start(
    app: Koa,
    port: number,
    host: string | undefined,
    timeouts: HttpTimeouts = HTTP_TIMEOUTS,
  ): Promise<HttpServer> {
    const server = createServer({
      keepAliveTimeout: timeouts.keepAliveMs,
      requestTimeout: timeouts.requestMs,
      headersTimeout: timeouts.headersMs,
      connectionsCheckingInterval: timeouts.checkIntervalMs,
      noDelay: true,
      requireHostHeader: false, // ours to refuse, in JSON
    })
    const answer = app.callback()
    const handler = (req: IncomingMessage, res: ServerResponse) =>
      lacksHost(req) ? answerRaw(req.socket, NO_HOST) : answer(req, res)
    server.on('request', handler)
    server.on('checkExpectation', handler) // one that is not 100-continue; Node itself would answer without a body
    bridgeUpgrades(server, handler)
    answerMalformed(server)
    const http = new HttpServer(server)
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, host, () => {
        server.off('error', reject)
        resolve(http)
      })
    })
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Accepts nothing new; resolves when the requests under way are answered. */
  drain(): Promise<void> {
    return new Promise((resolve) => {
      const closing = setInterval(() => this.#closeIdle(), IDLE_CHECK_MS)
      this.#server.close(() => {
        clearInterval(closing)
        resolve()
      })
    })
  }

  #closeIdle(): void {
    this.#server.closeIdleConnections()
    // Opened ahead of need, as browsers and pools do, and never used: Node counts them as busy.
    for (const socket of this.#connections) if (socket.bytesRead === 0) socket.destroy()
  }

  /** Cuts what is left. */
  stop(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }
}
