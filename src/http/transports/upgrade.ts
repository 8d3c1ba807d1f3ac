import { type IncomingMessage, type Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Context } from 'koa'
import type { WebSocket } from 'ws'
import { AppError } from '../../protocol/errors.ts'
import { sendRawError } from '../rawResponse.ts'

/**
 * Passes `upgrade` requests to the HTTP handler, for koa-easy-ws. Without this Node's HTTP parser stays on the
 * socket, and its request time-out kills a WebSocket 60 to 90 s after the client's first frame.
 */
export function bridgeUpgrades(
  server: Server,
  handler: (req: IncomingMessage, res: ServerResponse) => unknown,
): void {
  server.on('upgrade', (req: IncomingMessage, socket: Socket, head: Buffer) => {
    socket.on('error', () => {}) // until ws adds its own listener
    if (hasBody(req)) return refuseBody(socket)
    if (head.length > 0) socket.unshift(head) // koa-easy-ws does not pass the head on, so early bytes go back to the socket
    const res = new ServerResponse(req)
    res.shouldKeepAlive = false
    res.assignSocket(socket)
    res.on('finish', () => {
      res.detachSocket(socket)
      socket.end()
    })
    handler(req, res)
  })
}

/** Node stops parsing at an Upgrade header (curl --http2 sends one), so it cannot read a body after it. */
const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0

function refuseBody(socket: Socket): void {
  sendRawError(socket, new AppError('bad_request', 'a request with a body cannot be upgraded'))
}

/** The context of an upgrade request, with the function that koa-easy-ws adds. */
export interface UpgradeContext extends Context {
  ws?: () => Promise<WebSocket>
}

const KEY = /^[+/0-9A-Za-z]{22}==$/
/** A comma-separated list of sub-protocols (RFC 9110 tokens). ws rejects others itself, without JSON. */
const PROTOCOLS = /^[\w!#$%&'*+.^`|~-]+(\s*,\s*[\w!#$%&'*+.^`|~-]+)*$/

/** Throws invalid_websocket_upgrade when the request is not a valid WebSocket handshake. */
export function assertHandshake(ctx: UpgradeContext): void {
  const { headers, method } = ctx.req
  if (ctx.ws === undefined || method !== 'GET' || !KEY.test(headers['sec-websocket-key'] ?? ''))
    throw new AppError('invalid_websocket_upgrade', 'this path requires a WebSocket handshake')
  if (!PROTOCOLS.test(headers['sec-websocket-protocol'] ?? 'none'))
    throw new AppError(
      'invalid_websocket_upgrade',
      'Sec-WebSocket-Protocol must be a comma-separated list of tokens',
    )
  if (headers['sec-websocket-version'] !== '13') {
    ctx.set('Sec-WebSocket-Version', '13')
    throw new AppError('invalid_websocket_upgrade', 'Sec-WebSocket-Version must be 13')
  }
}

/** Completes a handshake. Resolves with undefined when the client has disconnected. */
export async function acceptUpgrade(ctx: UpgradeContext): Promise<WebSocket | undefined> {
  const { socket } = ctx.req
  if (ctx.ws === undefined || socket.destroyed || !socket.readable || !socket.writable) {
    ctx.respond = false
    socket.destroy()
    return undefined
  }
  ctx.res.detachSocket(socket)
  // ws rejects a few more handshakes, by closing the socket without resolving or rejecting.
  const closed = new Promise<undefined>((resolve) => socket.once('close', () => resolve(undefined)))
  const ws = await Promise.race([ctx.ws(), closed])
  ws?.on('error', () => {}) // an invalid frame closes the socket, and must not end the process
  return ws
}
