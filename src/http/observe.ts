import type { Middleware } from 'koa'
import type { Idleness } from '../lib/idleness.ts'
import { traceFields } from '../lib/traceContext.ts'
import type { Log } from '../ops/log.ts'
import type { Metrics } from '../ops/metrics.ts'
import type { State } from './context.ts'

const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PATCH', 'DELETE', 'OPTIONS', 'PUT'])
const SWITCHING_PROTOCOLS = 101
/** What probes and scrapers ask for wakes no node. */
const OF_CLIENTS = '/v1/'

/**
 * The time of every request, for the metrics, and its line in the access log: at info when that is on, else at debug.
 * The path is logged, never the query string, which may carry a token.
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
    // What is answered past Koa is an event stream, which has sent its headers, or a WebSocket.
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

/** Notes that somebody wants something of the node. Long-lived connections are counted elsewhere. */
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
