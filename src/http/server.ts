import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type Koa from 'koa'
import { AppError, type ErrorCode } from '../protocol/errors.ts'
import { respondToClientErrors } from './errors.ts'
import { sendRawError } from './rawResponse.ts'
import { bridgeUpgrades } from './transports/upgrade.ts'

export interface HttpServerOptions {
  /** How long a connection is kept for another request. */
  readonly keepAliveMs: number
  /** From its first byte, a request has this long to arrive. */
  readonly requestMs: number
  readonly headersMs: number
  /** A peer that takes nothing of an answer for this long is cut. */
  readonly stallMs?: number
  /** Past it, a new connection is closed at once. */
  readonly connections?: number
  /** Of what never became a request. */
  readonly onError?: (code: ErrorCode) => void
  /** Of connections past the bound. */
  readonly onDropped?: () => void
}

/** How often Node looks for requests past their time: at most this, and often enough for short ones. */
const MAX_CHECK_INTERVAL_MS = 5000

/** While draining: a connection is closed this soon after its last answer. */
const IDLE_CHECK_MS = 50

const NO_HOST = new AppError('bad_request', 'the request is not valid HTTP/1.1: the Host header is missing')

const lacksHost = ({ headers, httpVersion }: IncomingMessage): boolean =>
  headers.host === undefined && httpVersion === '1.1'

/** The rest of a long answer waits in memory for its peer: not for ever. Node destroys a socket that times out. */
function cutIfStalled(socket: Socket, stallMs: number): void {
  if (socket.writableNeedDrain) socket.setTimeout(stallMs)
}

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
    options: HttpServerOptions,
  ): Promise<HttpServer> {
    const server = createServer({
      keepAliveTimeout: options.keepAliveMs,
      requestTimeout: options.requestMs,
      headersTimeout: Math.min(options.headersMs, options.requestMs),
      connectionsCheckingInterval: Math.min(MAX_CHECK_INTERVAL_MS, Math.ceil(options.headersMs / 4)),
      noDelay: true,
      requireHostHeader: false, // ours to refuse, in JSON
    })
    if (options.connections !== undefined) server.maxConnections = options.connections
    // A client that has said all it has to say may close its side of the connection, and is answered all the same. Node
    // has the property from its beginnings, and no type for it.
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
    server.on('checkExpectation', handler) // one that is not 100-continue; Node itself would answer without a body
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
