import type Router from '@koa/router'
import { onTokenEnd } from '../../auth/tokenEnd.ts'
import { bodyKind } from '../body.ts'
import { MAX_TAIL_BYTES } from '../bounds.ts'
import { bodyOf, patienceOf, type Services, type State } from '../context.ts'
import { toAppError } from '../errors.ts'
import { allow } from '../middleware.ts'
import { parseTails } from '../parseTails.ts'
import { beginEventStream, EventStream } from '../transports/eventStream.ts'
import { TailsStream } from '../transports/tailsStream.ts'

/** Many tails on one event stream: what the multiplexed socket is, where WebSockets do not come through. */
export function tailsRoutes(router: Router, services: Services): void {
  const { config, log, sockets } = services
  const { maxTopics } = config.socket
  router.post('/v1/tails', allow('session:read'), async (ctx) => {
    const { principal, requestId } = ctx.state as State
    bodyKind(ctx.req, ['json'])
    const wanted = parseTails(await bodyOf(ctx, maxTopics * MAX_TAIL_BYTES, services), maxTopics)
    sockets.refuseIfFull()
    beginEventStream(ctx)
    const stream = new EventStream(ctx, {
      keepAliveMs: config.tail.sseKeepAliveMs,
      patience: patienceOf(services, ctx),
      drainSpreadMs: config.drainSpreadMs,
    })
    const remove = sockets.add(stream, ctx.req.socket)
    const unwatch = onTokenEnd(principal, () => stream.end())
    const tails = new TailsStream({
      services,
      principal,
      stream,
      toAppError: (error) => toAppError(error, requestId, log),
    })
    // Not awaited: the request is answered.
    void tails.run(wanted).finally(() => {
      if (tails.isCutShort) stream.fail()
      else stream.end()
      unwatch()
      remove()
    })
  })
}
