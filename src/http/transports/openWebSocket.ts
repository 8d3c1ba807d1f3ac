import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import { arrivingOf } from '../context.ts'
import type { Call } from '../operation.ts'
import { boundArriving } from './arriving.ts'
import type { LongLived } from './sockets.ts'
import { acceptUpgrade } from './upgrade.ts'

/**
 * Completes a WebSocket handshake and registers the connection with the node, which pings and drains it. Throws draining and
 * too_many_sockets. Resolves with undefined when the client has disconnected.
 */
export async function openWebSocket(
  { ctx, services }: Pick<Call, 'ctx' | 'services'>,
  connect: (ws: WebSocket, socket: Socket) => LongLived,
): Promise<WebSocket | undefined> {
  services.sockets.assertNotFull()
  const { socket } = ctx.req
  const ws = await acceptUpgrade(ctx)
  if (ws === undefined) return undefined
  services.sockets.add(connect(ws, socket), socket)
  boundArriving(ws, socket, arrivingOf(services, ctx))
  return ws
}
