import { randomUUID } from 'node:crypto'
import type { Middleware } from 'koa'
import type { Health } from '../ops/health.ts'
import { AppError } from '../protocol/errors.ts'
import type { State } from './context.ts'
import { SECURITY_HEADERS } from './rawResponse.ts'

const SANE_REQUEST_ID = /^[\w.:/+=@-]{1,128}$/

/** Sets X-Request-Id: the client's when it matches the pattern, else a new one. */
export const requestId: Middleware = (ctx, next) => {
  const given = ctx.get('X-Request-Id')
  const id = SANE_REQUEST_ID.test(given) ? given : randomUUID()
  ;(ctx.state as State).requestId = id
  ctx.set('X-Request-Id', id)
  return next()
}

/**
 * Forbids browsers to render, frame, sniff or cache the JSON of the API. HSTS is left to the load balancer, which terminates
 * TLS.
 */
export const securityHeaders: Middleware = ({ res }, next) => {
  for (const [name, value] of SECURITY_HEADERS) res.setHeader(name, value)
  return next()
}

/** Rejects API requests until the node is ready. While the node drains, closes connections after their response. */
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
