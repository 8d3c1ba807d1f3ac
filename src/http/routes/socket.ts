import type Router from '@koa/router'
import type { Context, Middleware } from 'koa'
import type { Principal } from '../../auth/principal.ts'
import { AppError } from '../../protocol/errors.ts'
import { arrivingOf, patienceOf, type Services, type State } from '../context.ts'
import { toAppError } from '../errors.ts'
import { refuseHandshake, SOCKET_PATH } from '../socketPath.ts'
import { boundArriving } from '../transports/arriving.ts'
import { PhoenixSocket } from '../transports/phoenix/phoenixSocket.ts'
import { SERIALIZERS } from '../transports/phoenix/serializer.ts'
import { createTopics } from '../transports/phoenix/topics.ts'
import { acceptUpgrade, refuseBadHandshake, type UpgradeContext } from '../transports/upgrade.ts'

/** How Phoenix's client sends its `authToken`: as a sub-protocol, which no log holds. */
const TOKEN_PROTOCOL = /(?:^|,)\s*base64url\.bearer\.phx\.([\w+-]+)\s*(?:,|$)/

/**
 * The multiplexed socket. It is authenticated here and not by middleware, because a handshake that is refused is
 * answered as Phoenix does: 403 without a body.
 */
export function socketRoutes(router: Router, upgrades: Middleware, services: Services): void {
  const { authenticator, config, log, requestQuota, sockets } = services
  const topics = createTopics(services)
  router.get(SOCKET_PATH, upgrades, async (ctx: UpgradeContext) => {
    refuseBadHandshake(ctx)
    const { vsn = '1.0.0', token_end = 'topics', access_token: foreign } = ctx.query
    const serializer = typeof vsn === 'string' ? SERIALIZERS.get(vsn) : undefined
    const principal = foreign === undefined ? await authenticated(services, ctx) : undefined
    const isKnownEnd = token_end === 'topics' || token_end === 'close'
    if (serializer === undefined || principal === undefined || !isKnownEnd) return refuseHandshake(ctx)
    if (requestQuota) await requestQuota.take(principal.tenantId)
    sockets.refuseIfFull()

    const { socket } = ctx.req
    const ws = await acceptUpgrade(ctx)
    if (ws === undefined) return
    const { requestId } = ctx.state as State
    const { silenceMs, maxTopics, maxUnanswered } = config.socket
    const phoenix = new PhoenixSocket(ws, socket, {
      serializer,
      topics,
      authenticator,
      principal,
      closesWithToken: token_end === 'close',
      silenceMs,
      patience: patienceOf(services, ctx),
      maxTopics,
      maxUnanswered,
      toAppError: (error) => toAppError(error, requestId, log),
    })
    sockets.add(phoenix, socket)
    boundArriving(ws, socket, arrivingOf(services, ctx))
  })
}

async function authenticated({ authenticator }: Services, ctx: Context): Promise<Principal | undefined> {
  const { token } = ctx.query
  if (Array.isArray(token)) return undefined
  try {
    return await authenticator.authenticate(token ?? tokenOfProtocol(ctx))
  } catch (error) {
    if (error instanceof AppError && error.code === 'unauthorized') return undefined
    throw error
  }
}

function tokenOfProtocol(ctx: Context): string | undefined {
  const encoded = TOKEN_PROTOCOL.exec(ctx.get('Sec-WebSocket-Protocol'))?.[1]
  return encoded === undefined ? undefined : Buffer.from(encoded, 'base64url').toString()
}
