import type { IncomingMessage } from 'node:http'
import cors from '@koa/cors'
import Router, { type RouterMiddleware } from '@koa/router'
import Koa from 'koa'
import koaEasyWs from 'koa-easy-ws'
import type { Log } from '../ops/log.ts'
import type { Services, State } from './context.ts'
import { answerErrors } from './errors.ts'
import { exactId } from './exactId.ts'
import { authenticate, gate, limitRequests, requestId, securityHeaders, unknownPath } from './middleware.ts'
import { noteRequests, observe } from './observe.ts'
import { allowedOrigin, refuseForeign } from './origins.ts'
import { appendRoutes } from './routes/append.ts'
import { contractRoutes } from './routes/contract.ts'
import { erasureRoutes } from './routes/erasures.ts'
import { eventRoutes } from './routes/events.ts'
import { lifecycleRoutes } from './routes/lifecycle.ts'
import { type Operations, opsRoutes } from './routes/ops.ts'
import { sessionRoutes } from './routes/sessions.ts'
import { socketRoutes } from './routes/socket.ts'
import { tailRoutes } from './routes/tail.ts'
import { tailsRoutes } from './routes/tails.ts'

/** What a raw tail is sent is ignored, so a client has no reason for larger frames. */
const MAX_IGNORED_FRAME_BYTES = 64 * 1024
/** Each costs some hundred bytes beside what is in it, which no budget sees. Clients have a few in their largest message. */
const MAX_FRAGMENTS = 512
/** Room in a frame of the multiplexed socket beside the largest event. */
const MAX_ENVELOPE_BYTES = 64 * 1024

/** How Koa hears of a client that went away under its answer, as readers of event streams do. */
const GONE = new Set(['ECONNRESET', 'EPIPE'])

// A CommonJS module whose types say `default` where there is none at run time.
const easyWs = koaEasyWs as unknown as typeof koaEasyWs.default

/** The order of what is open, what asks for the token itself, and what is asked for one. */
export function createRouter(services: Services, operations: Operations): Router {
  const { config } = services
  const router = new Router({ sensitive: true })
  contractRoutes(router, operations.version.version)
  if (config.opsPort === undefined) opsRoutes(router, operations)
  // What asks for the token itself, after what it has to refuse first, or refuses as Phoenix does.
  tailRoutes(router, upgrades(MAX_IGNORED_FRAME_BYTES), services)
  lifecycleRoutes(router, services)
  socketRoutes(router, upgrades(config.limits.eventBytes + MAX_ENVELOPE_BYTES), services)
  router.use(authenticate(services.authenticator) as RouterMiddleware)
  if (services.requestQuota) router.use(limitRequests(services.requestQuota) as RouterMiddleware)
  sessionRoutes(router, services)
  appendRoutes(router, services)
  eventRoutes(router, services)
  tailsRoutes(router, services)
  erasureRoutes(router, services)
  return router
}

/** The API. The order of the middleware is its table of contents. */
export function createApp(services: Services, operations: Operations): Koa {
  const { config, log, metrics } = services
  const router = createRouter(services, operations)
  const app = new Koa()
  app.on('error', (error: NodeJS.ErrnoException) => {
    if (!GONE.has(error.code ?? '')) log.error({ err: error }, 'an error passed the error middleware')
  })
  app.use(requestId)
  app.use(exactId)
  app.use(observe(log, metrics, config.accessLog))
  app.use(noteRequests(services.idleness))
  app.use(securityHeaders)
  app.use(
    cors({
      origin: (ctx) => allowedOrigin(ctx, config.admitted),
      exposeHeaders: ['X-Request-Id', 'Retry-After', 'Location', 'WWW-Authenticate'],
      maxAge: 600,
    }),
  )
  app.use(answerErrors(log, (code) => metrics.error(code), services.answers))
  app.use(refuseForeign(config.admitted))
  app.use(gate(operations.health))
  app.use(router.routes() as Koa.Middleware)
  app.use(unknownPath(router))
  return app
}

/** koa-easy-ws; a frame over the bound, or a message of too many, closes its socket. The answer to a handshake is written by `ws`, not by Koa. */
function upgrades(maxPayload: number): Koa.Middleware {
  const requestIds = new WeakMap<IncomingMessage, string>()
  const upgrade = easyWs('ws', {
    wsOptions: { maxPayload, maxFragments: MAX_FRAGMENTS, perMessageDeflate: false },
  })
  upgrade.server.on('headers', (headers: string[], req: IncomingMessage) => {
    headers.push(`X-Request-Id: ${requestIds.get(req)}`)
  })
  return (ctx, next) => {
    requestIds.set(ctx.req, (ctx.state as State).requestId)
    return upgrade(ctx, next)
  }
}

/** Health, metrics and version alone, for STARCITE_OPS_PORT. */
export function createOpsApp(operations: Operations, log: Log): Koa {
  const router = new Router({ sensitive: true })
  opsRoutes(router, operations)
  const app = new Koa()
  app.on('error', (error) => log.error({ err: error }, 'an error passed the error middleware'))
  app.use(requestId)
  app.use(securityHeaders)
  app.use(answerErrors(log))
  app.use(router.routes() as Koa.Middleware)
  app.use(unknownPath(router))
  return app
}
