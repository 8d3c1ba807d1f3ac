import type { Middleware } from 'koa'

/**
 * `/v1/session/=ID…` is `/v1/sessions/ID…`, for ids that are a dot or two: whatever handles URLs takes `/./` and `/../` out,
 * encoded as `%2e` too. No id is lost by it, because no path of the API begins so.
 */
const EXACT = /^\/v1\/session\/=([^/]+)(\/.*)?$/

export const exactId: Middleware = (ctx, next) => {
  if (ctx.path.startsWith('/v1/session/')) {
    const [, id, rest = ''] = EXACT.exec(ctx.path) ?? []
    if (id !== undefined) ctx.path = `/v1/sessions/${id}${rest}`
  }
  return next()
}
