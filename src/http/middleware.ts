import { randomUUID } from 'node:crypto'
import type { Middleware } from 'koa'
import type { Health } from '../ops/health.ts'
import { AppError } from '../protocol/errors.ts'
import type { State } from './context.ts'
import { SECURITY_HEADERS } from './rawResponse.ts'

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
      throw new AppError('storage_unavailable', 'the node is starting; send the request again later', {
        retry_after_ms: 1000,
      })
    return next()
  }
}
