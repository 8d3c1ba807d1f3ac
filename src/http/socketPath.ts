import type { Context } from 'koa'

/** The path of the multiplexed socket. */
export const SOCKET_PATH = '/v1/socket/websocket'

/** Rejects a handshake as Phoenix does: 403 without a body. */
export function rejectHandshake(ctx: Context): void {
  ctx.status = 403
  ctx.body = ''
  ctx.remove('Content-Type')
}
