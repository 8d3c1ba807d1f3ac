import type Router from '@koa/router'
import type { RouterMiddleware } from '@koa/router'
import type { Middleware } from 'koa'
import { AppError } from '../../protocol/errors.ts'
import { findSession, type Services, type State } from '../context.ts'
import { allow, authenticate, limitRequests } from '../middleware.ts'
import { choice, cursor, integer } from '../query.ts'
import { acceptUpgrade, refuseBadHandshake } from '../transports/upgrade.ts'
import { serveTail, WebSocketSink } from '../transports/webSocketTail.ts'
import { refuseAhead } from './events.ts'

const MAX_BATCH_SIZE = 1000

/** `upgrades` is koa-easy-ws: it gives the context its way into a WebSocket. */
export function tailRoutes(router: Router, upgrades: Middleware, services: Services): void {
  const { authenticator, config, log, requestQuota, sockets, tailQuota, tails } = services
  const isHandshake: Middleware = (ctx, next) => {
    refuseBadHandshake(ctx)
    return next()
  }
  // Browsers cannot set headers on a WebSocket, so its token may be in the query.
  const enter = [
    upgrades,
    isHandshake,
    authenticate(authenticator, 'access_token'),
    ...(requestQuota ? [limitRequests(requestQuota)] : []),
    allow('session:read'),
  ]
  router.get('/v1/sessions/:id/tail', ...(enter as RouterMiddleware[]), async (ctx) => {
    const { principal } = ctx.state as State
    const start = cursor(ctx.query) ?? 0
    const batchSize = integer(ctx.query, 'batch_size', 'invalid_tail_batch_size', {
      min: 1,
      max: MAX_BATCH_SIZE,
    })
    const follow = choice(ctx.query, 'follow', 'invalid_list_query', ['true', 'false']) !== 'false'
    const session = await findSession(services, ctx)
    refuseAhead(start, session.lastSeq)
    if (sockets.draining.aborted)
      throw new AppError('draining', 'this node is stopping', { retry_after_ms: 0 })
    if (sockets.isFull)
      throw new AppError('too_many_sockets', 'this node serves as many sockets as it takes', {
        retry_after_ms: 1000,
      })

    const release = tailQuota.take(principal)
    const { socket } = ctx.req
    const ws = await acceptUpgrade(ctx).catch((error) => {
      release()
      throw error
    })
    if (ws === undefined) return release()
    sockets.add(ws)
    // Not awaited: the HTTP side of this request is over.
    void serveTail(
      ws,
      principal,
      (signal, onStalled) =>
        tails.run({
          sid: session.sid,
          cursor: start,
          until: follow ? undefined : session.lastSeq,
          sink: new WebSocketSink(ws, socket, {
            batchSize: batchSize === 1 ? undefined : batchSize,
            stallMs: config.tail.stallMs,
            onStalled,
          }),
          signal,
        }),
      (error) => log.error({ err: error, sid: session.sid }, 'a tail ended by a fault'),
    ).finally(release)
  })
}
