import type Router from '@koa/router'
import type { RouterMiddleware } from '@koa/router'
import type { Context } from 'koa'
import { requireService } from '../../auth/access.ts'
import { onTokenEnd } from '../../auth/tokenEnd.ts'
import { type Cursor, parseCursor, renderCursor } from '../../lifecycle/cursor.ts'
import { patienceOf, type Services, type State } from '../context.ts'
import { authenticate, limitRequests } from '../middleware.ts'
import { cursorAt, one } from '../query.ts'
import { beginEventStream, EventStream } from '../transports/eventStream.ts'
import { knownEnd } from '../transports/webSocketTail.ts'

/** What happens to the sessions of the tenant, as server-sent events, whatever `Accept` says. */
export function lifecycleRoutes(router: Router, services: Services): void {
  const { authenticator, config, lifecycle, log, requestQuota, sockets, tailQuota } = services
  // An EventSource cannot set headers, so its token may be in the query.
  const enter = [
    authenticate(authenticator, 'access_token'),
    ...(requestQuota ? [limitRequests(requestQuota)] : []),
  ]
  router.get('/v1/lifecycle', ...(enter as RouterMiddleware[]), async (ctx) => {
    const { principal } = ctx.state as State
    const { tenantId } = principal
    requireService(principal)
    const wanted = cursorOf(ctx)
    const cursor = await lifecycle.startAt(tenantId, wanted)
    sockets.refuseIfFull()
    const release = tailQuota.take(principal)

    beginEventStream(ctx)
    if (ctx.method === 'HEAD') return release()
    const stream = new EventStream(ctx, {
      keepAliveMs: config.tail.sseKeepAliveMs,
      patience: patienceOf(services, ctx),
      drainSpreadMs: config.drainSpreadMs,
    })
    const remove = sockets.add(stream, ctx.req.socket)
    const unwatch = onTokenEnd(principal, () => stream.end())
    // Who comes without a cursor and is cut off before the first event is to go on from here.
    if (wanted === undefined) stream.standAt(renderCursor(cursor))
    // Not awaited: the request is answered.
    void lifecycle
      .follow({ tenantId, cursor, sink: stream, signal: stream.signal })
      .catch((error) => {
        const known = knownEnd(error)
        if (known === undefined) log.error({ err: error }, 'a lifecycle feed ended by a fault')
        stream.fail(known)
      })
      .finally(() => {
        stream.end()
        unwatch()
        remove()
        release()
      })
  })
}

/** Where an EventSource was when its connection ended, or what the query says. */
function cursorOf(ctx: Context): Cursor | undefined {
  const at = cursorAt(one(ctx.query, 'cursor_at', 'invalid_cursor'))
  const lastEventId = ctx.get('Last-Event-ID')
  if (lastEventId !== '') return parseCursor(lastEventId, 'Last-Event-ID')
  const given = one(ctx.query, 'cursor', 'invalid_cursor')
  return given === undefined ? undefined : parseCursor(given, 'cursor', at)
}
