import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type Koa from 'koa'
import { AppError, type ErrorCode } from '../protocol/errors.ts'
import { respondToClientErrors } from './errors.ts'
import { sendRawError } from './rawResponse.ts'
import { bridgeUpgrades } from './transports/upgrade.ts'

export interface HttpServerOptions {
  /** How long an idle connection stays open for another request. */
  readonly keepAliveMs: number
  /** How long a request may take to arrive, from its first byte. */
  readonly requestMs: number
  readonly headersMs: number
  /** The node closes a connection whose peer reads nothing of a response for this long. */
  readonly stallMs?: number
  /** The most open connections; further ones are closed at once. */
  readonly connections?: number
  /** Called for bytes that are not a valid request. */
  readonly onError?: (code: ErrorCode) => void
  /** Called for each connection past the limit. */
  readonly onDropped?: () => void
}

/** The longest interval at which Node checks for requests past their time-out. Short time-outs are checked more often. */
const MAX_CHECK_INTERVAL_MS = 5000

/** While the server drains, it closes idle connections at this interval. */
const IDLE_CHECK_MS = 50

const NO_HOST = new AppError('bad_request', 'the request is not valid HTTP/1.1: the Host header is missing')

const lacksHost = ({ headers, httpVersion }: IncomingMessage): boolean =>
  headers.host === undefined && httpVersion === '1.1'

/** Bounds how long the rest of a response waits in memory for its peer: Node destroys a socket that times out. */
function cutIfStalled(socket: Socket, stallMs: number): void {
  if (socket.writableNeedDrain) socket.setTimeout(stallMs)
}

/** A listening HTTP server. */
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

  /** Resolves when the server listens. Rejects when the port is in use (EADDRINUSE) or not permitted (EACCES). */
  static start(
    app: Koa,
    port: number,
    host: string | undefined,
    options: HttpServerOptions,
  ): Promise<HttpServer> {
    const server = createServer({
      keepAliveTimeout: options.keepAliveMs,
      requestTimeout: options.requestMs,
      headersTimeout: Math.min(options.headersMs, options.requestMs),
      connectionsCheckingInterval: Math.min(MAX_CHECK_INTERVAL_MS, Math.ceil(options.headersMs / 4)),
      noDelay: true,
      requireHostHeader: false, // the handler below responds with JSON
    })
    if (options.connections !== undefined) server.maxConnections = options.connections
    // Half-closed clients still receive their response. Node's types lack the property.
    Object.assign(server, { httpAllowHalfOpen: true })
    const answer = app.callback()
    const { stallMs } = options
    const handler = (req: IncomingMessage, res: ServerResponse) => {
      if (lacksHost(req)) {
        options.onError?.(NO_HOST.code)
        return sendRawError(req.socket, NO_HOST)
      }
      if (stallMs !== undefined) res.once('prefinish', () => cutIfStalled(req.socket, stallMs))
      return answer(req, res)
    }
    server.on('request', handler)
    server.on('checkExpectation', handler) // for other values than 100-continue; Node's response would have no body
    bridgeUpgrades(server, handler)
    respondToClientErrors(server, (code) => options.onError?.(code))
    server.on('drop', () => options.onDropped?.())
    const http = new HttpServer(server)
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, host, () => {
        server.off('error', reject)
        resolve(http)
      })
    })
  }

  get connections(): number {
    return this.#connections.size
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Accepts no new connections, and resolves when the current requests are answered. */
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
    // Browsers and pools open connections before they need them. Node counts those without a request as busy.
    for (const socket of this.#connections) if (socket.bytesRead === 0) socket.destroy()
  }

  /** Closes all connections at once. */
  stop(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }
}
