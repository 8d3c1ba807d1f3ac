import type { Middleware } from 'koa'
import type { Idleness } from '../lib/idleness.ts'
import { traceFields } from '../lib/traceContext.ts'
import type { Log } from '../ops/log.ts'
import type { Metrics } from '../ops/metrics.ts'
import type { State } from './context.ts'

const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PATCH', 'DELETE', 'OPTIONS', 'PUT'])
const SWITCHING_PROTOCOLS = 101
/** Requests to other paths, of probes and scrapers, do not keep a node from becoming idle. */
const OF_CLIENTS = '/v1/'

/**
 * Measures every request for the metrics, and writes its line of the access log: at level info when that is on, else at debug.
 * The line has the path and never the query string, which may contain a token.
 */
export function observe(log: Log, metrics: Metrics, accessLog: boolean): Middleware {
  const level = accessLog ? 'info' : 'debug'
  const isLogged = log.isLevelEnabled(level)
  return async (ctx, next) => {
    const started = performance.now()
    await next()
    const ms = performance.now() - started
    // The template of the path: clients must not choose the values of a label.
    const { requestId, route = 'none', principal, clientGone } = ctx.state as State
    // Koa does not send two responses: event streams, whose headers are sent by now, and WebSockets.
    const isUpgraded = ctx.respond === false && !ctx.res.headersSent
    const status = isUpgraded ? SWITCHING_PROTOCOLS : ctx.status
    metrics.request(
      {
        route,
        method: METHODS.has(ctx.method) ? ctx.method : 'other',
        status: clientGone ? 'gone' : `${Math.floor(status / 100)}xx`,
      },
      ms / 1000,
    )
    if (!isLogged) return
    log[level](
      {
        requestId,
        ...traceFields(ctx.req.headers.traceparent),
        method: ctx.method,
        path: ctx.path,
        route,
        ...(clientGone ? { gone: true } : { status }),
        ms: Math.round(ms * 1000) / 1000,
        ...(principal && { tenant: principal.tenantId }),
      },
      'request',
    )
  }
}

/** Marks the node as busy during a request. Long-lived connections are counted elsewhere. */
export function trackRequests(idleness: Idleness): Middleware {
  return async (ctx, next) => {
    if (!ctx.path.startsWith(OF_CLIENTS)) return next()
    const over = idleness.request()
    try {
      await next()
    } finally {
      over()
    }
  }
}
