import type { Middleware } from 'koa'

/**
 * Serves `/v1/session/=ID…` as `/v1/sessions/ID…`, for sessions with the ids `.` and `..`: URL libraries resolve `/./` and
 * `/../`, also when they are encoded as `%2e`. No other path of the API begins like that.
 */
const EXACT = /^\/v1\/session\/=([^/]+)(\/.*)?$/

export const exactId: Middleware = (ctx, next) => {
  if (ctx.path.startsWith('/v1/session/')) {
    const [, id, rest = ''] = EXACT.exec(ctx.path) ?? []
    if (id !== undefined) ctx.path = `/v1/sessions/${id}${rest}`
  }
  return next()
}
