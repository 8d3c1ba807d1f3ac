import type Router from '@koa/router'
import type { RouterMiddleware } from '@koa/router'
import type { Context, Middleware } from 'koa'
import { onTokenEnd } from '../../auth/tokenEnd.ts'
import { AppError } from '../../protocol/errors.ts'
import type { Seq } from '../../protocol/event.ts'
import type { Session } from '../../sessions/session.ts'
import { MAX_BATCH_SIZE } from '../bounds.ts'
import { arrivingOf, findSession, patienceOf, type Services, type State } from '../context.ts'
import { allow, authenticate, limitRequests } from '../middleware.ts'
import { choice, cursor, cursorInsertedAt, integer } from '../query.ts'
import { boundArriving } from '../transports/arriving.ts'
import { acceptsEventStream, beginEventStream, EventStream } from '../transports/eventStream.ts'
import type { Patience } from '../transports/sockets.ts'
import { acceptUpgrade, refuseBadHandshake, type UpgradeContext } from '../transports/upgrade.ts'
import { knownEnd, RawWebSocket, serveTail, WebSocketSink } from '../transports/webSocketTail.ts'

interface Wanted {
  readonly session: Session
  readonly start: Seq
  /** Undefined: for ever. */
  readonly until: Seq | undefined
  /** Undefined: each event by itself. */
  readonly batchSize: number | undefined
}

/** `upgrades` is koa-easy-ws: it gives the context its way into a WebSocket. */
export function tailRoutes(router: Router, upgrades: Middleware, services: Services): void {
  const { authenticator, requestQuota, sockets } = services
  const isHandshake: Middleware = (ctx, next) => {
    if (!isStream(ctx)) refuseBadHandshake(ctx)
    return next()
  }
  // Browsers cannot set headers on a WebSocket or an EventSource, so its token may be in the query.
  const enter = [
    upgrades,
    isHandshake,
    authenticate(authenticator, 'access_token'),
    ...(requestQuota ? [limitRequests(requestQuota)] : []),
    allow('session:read'),
  ]
  router.get('/v1/sessions/:id/tail', ...(enter as RouterMiddleware[]), async (ctx) => {
    const given = cursor(ctx.query) ?? 0
    const start = (isStream(ctx) ? lastEventId(ctx) : undefined) ?? given
    const seenAt = cursorInsertedAt(ctx.query)
    const batchSize = integer(ctx.query, 'batch_size', 'invalid_tail_batch_size', {
      min: 1,
      max: MAX_BATCH_SIZE,
    })
    const follow = choice(ctx.query, 'follow', 'invalid_list_query', ['true', 'false']) !== 'false'
    const session = await findSession(services, ctx)
    await services.cursors.refuseAhead(start, session.lastSeq)
    await services.cursors.check(session, given, seenAt)
    sockets.refuseIfFull()
    const wanted: Wanted = {
      session,
      start,
      until: follow ? undefined : session.lastSeq,
      batchSize: batchSize === 1 ? undefined : batchSize,
    }
    if (isStream(ctx)) streamTail(services, ctx, wanted)
    else await socketTail(services, ctx, wanted)
  })
}

/** An upgrade is one, whatever else it would accept. */
const isStream = (ctx: UpgradeContext): boolean =>
  ctx.ws === undefined && acceptsEventStream(ctx.get('Accept'))

/** Where an EventSource was when its connection ended. */
function lastEventId(ctx: Context): Seq | undefined {
  const id = ctx.get('Last-Event-ID')
  if (id === '') return undefined
  if (/^\d{1,16}$/.test(id) && Number(id) <= Number.MAX_SAFE_INTEGER) return Number(id)
  throw new AppError('invalid_cursor', 'Last-Event-ID must be the id of an event of this stream', {
    field: 'Last-Event-ID',
  })
}

function streamTail(services: Services, ctx: Context, { session, start, until }: Wanted): void {
  const { config, log, sockets, tailQuota, tails } = services
  const { principal } = ctx.state as State
  if (until !== undefined && start >= until && ctx.get('Last-Event-ID') !== '') {
    ctx.status = 204 // an EventSource comes back after every end, unless it is answered this
    return
  }
  const release = tailQuota.take(principal)
  beginEventStream(ctx)
  if (ctx.method === 'HEAD') {
    release()
    return
  }
  const stream = new EventStream(ctx, {
    keepAliveMs: config.tail.sseKeepAliveMs,
    patience: { ...patienceOf(services, ctx), pages: 2 },
    drainSpreadMs: config.drainSpreadMs,
    isFinite: until !== undefined,
  })
  const remove = sockets.add(stream, ctx.req.socket)
  const unwatch = onTokenEnd(principal, () => stream.end())
  // Not awaited: the request is answered.
  void tails
    .run({
      sid: session.sid,
      epoch: session.epoch,
      cursor: start,
      until,
      sink: stream,
      signal: stream.signal,
    })
    .then(
      () => stream.finish(start),
      (error) => {
        const known = knownEnd(error)
        if (known === undefined) log.error({ err: error, sid: session.sid }, 'a tail ended by a fault')
        if (known?.code === 'session_erased')
          stream.end() // the reader comes back, and is answered 410
        else stream.fail(known)
      },
    )
    .finally(() => {
      unwatch()
      remove()
      release()
    })
}

async function socketTail(services: Services, ctx: UpgradeContext, wanted: Wanted): Promise<void> {
  const { log, sockets, tailQuota, tails } = services
  const { session, start, until, batchSize } = wanted
  const { principal } = ctx.state as State
  const release = tailQuota.take(principal)
  const { socket } = ctx.req
  const ws = await acceptUpgrade(ctx).catch((error) => {
    release()
    throw error
  })
  if (ws === undefined) return release()
  sockets.add(new RawWebSocket(ws), socket)
  boundArriving(ws, socket, arrivingOf(services, ctx))
  const patience: Patience = { ...patienceOf(services, ctx), pages: 2 }
  // Not awaited: the HTTP side of this request is over.
  void serveTail(
    ws,
    principal,
    (signal, onStalled) =>
      tails.run({
        sid: session.sid,
        epoch: session.epoch,
        cursor: start,
        until,
        sink: new WebSocketSink(ws, socket, { batchSize, patience, onStalled }),
        signal,
      }),
    (error) => log.error({ err: error, sid: session.sid }, 'a tail ended by a fault'),
  ).finally(release)
}
