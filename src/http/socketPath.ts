import type { Context } from 'koa'

/** Of the multiplexed socket. */
export const SOCKET_PATH = '/v1/socket/websocket'

/** As Phoenix refuses a handshake: 403 without a body. */
export function rejectHandshake(ctx: Context): void {
  ctx.status = 403
  ctx.body = ''
  ctx.remove('Content-Type')
}
