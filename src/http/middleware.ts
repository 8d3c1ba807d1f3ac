import { randomUUID } from 'node:crypto'
import type Router from '@koa/router'
import type { Context, Middleware } from 'koa'
import { requireScope, requireSession } from '../auth/access.ts'
import type { Authenticator } from '../auth/authenticator.ts'
import type { Principal, Scope } from '../auth/principal.ts'
import type { Health } from '../ops/health.ts'
import { AppError } from '../protocol/errors.ts'
import type { State } from './context.ts'
import { SECURITY_HEADERS } from './rawAnswer.ts'
import type { RequestQuota } from './requestQuota.ts'
import { findToken } from './token.ts'

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

/**
 * Leaves the principal in `ctx.state`. Throws `unauthorized`. `queryParameter` may hold the token where clients cannot
 * set headers: on WebSocket upgrades and on event streams.
 */
export function authenticate(authenticator: Authenticator, queryParameter?: string): Middleware {
  return (ctx, next) => {
    const enter = (principal: Principal) => {
      ;(ctx.state as State).principal = principal
      return next()
    }
    const principal = authenticator.authenticate(findToken(ctx, queryParameter))
    // A token that was seen before costs no turn of the event loop.
    return principal instanceof Promise ? principal.then(enter) : enter(principal)
  }
}

/** Only for tokens with that scope, and, where the path names a session, not locked to another one. */
export function allow(scope: Scope): Middleware {
  return (ctx, next) => {
    const { principal } = ctx.state as State
    requireScope(principal, scope)
    const { id } = (ctx as Context & { params: Record<string, string | undefined> }).params
    if (id !== undefined) requireSession(principal, id)
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
    const { path, route } = router.match(ctx.path, ctx.method)
    if (route) return next()
    const methods = [...new Set(path.flatMap((layer) => layer.methods))]
    if (methods.length === 0) throw new AppError('not_found', `there is nothing at ${ctx.path}`)
    ctx.set('Allow', methods.join(', '))
    throw new AppError('method_not_allowed', `${ctx.method} is not possible here; ${methods.join(', ')} is`)
  }
}
