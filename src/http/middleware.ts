import { randomUUID } from 'node:crypto'
import type Router from '@koa/router'
import type { Middleware } from 'koa'
import type { Authenticator } from '../auth/authenticator.ts'
import type { Health } from '../ops/health.ts'
import { AppError } from '../protocol/errors.ts'
import type { State } from './context.ts'
import { SECURITY_HEADERS } from './rawAnswer.ts'
import type { RequestQuota } from './requestQuota.ts'

const SANE_REQUEST_ID = /^[\w.:/+=@-]{1,128}$/

/** X-Request-Id: the caller's when it is sane, else a new one. */
export const requestId: Middleware = (ctx, next) => {
  const given = ctx.get('X-Request-Id')
  const id = SANE_REQUEST_ID.test(given) ? given : randomUUID()
  ;(ctx.state as State).requestId = id
  ctx.set('X-Request-Id', id)
  return next()
}

/**
 * An API of JSON is nothing to render, frame, sniff or keep. Whether to insist on TLS (HSTS) is for whoever ends it: the
 * load balancer.
 */
export const securityHeaders: Middleware = ({ res }, next) => {
  for (const [name, value] of SECURITY_HEADERS) res.setHeader(name, value)
  return next()
}

/** Before the node is ready only health answers; while it drains, connections are not kept for another request. */
export function gate(health: Health): Middleware {
  return (ctx, next) => {
    if (health.phase === 'draining') ctx.set('Connection', 'close')
    if (health.phase === 'starting' && ctx.path.startsWith('/v1/'))
      throw new AppError('storage_unavailable', 'this node is starting', { retry_after_ms: 1000 })
    return next()
  }
}

/** Leaves the principal in `ctx.state`. */
export function authenticate(authenticator: Authenticator): Middleware {
  return async (ctx, next) => {
    ;(ctx.state as State).principal = await authenticator.authenticate(undefined)
    return next()
  }
}

/** Before a request costs anything. Health and metrics are not counted. */
export function limitRequests(quota: RequestQuota): Middleware {
  return async (ctx, next) => {
    if (ctx.path.startsWith('/v1/')) await quota.take((ctx.state as State).principal.tenantId)
    return next()
  }
}

/** After the routes: a path that none of them knows, or that some know by other methods. */
export function unknownPath(router: Router): Middleware {
  return (ctx, next) => {
    const { path, pathAndMethod } = router.match(ctx.path, ctx.method)
    if (pathAndMethod.length > 0) return next()
    const methods = [...new Set(path.flatMap((layer) => layer.methods))]
    if (methods.length === 0) throw new AppError('not_found', `there is nothing at ${ctx.path}`)
    ctx.set('Allow', methods.join(', '))
    throw new AppError('method_not_allowed', `${ctx.method} is not possible here; ${methods.join(', ')} is`)
  }
}
