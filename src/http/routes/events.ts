import type Router from '@koa/router'
import type { Context } from 'koa'
import { onTokenEnd } from '../../auth/tokenEnd.ts'
import { AppError } from '../../protocol/errors.ts'
import { holdAnswer } from '../answers.ts'
import { MAX_WAIT_SECONDS, PAGE } from '../bounds.ts'
import { answerJson, findSession, type Services, type State } from '../context.ts'
import { allow } from '../middleware.ts'
import { choice, cursor, cursorInsertedAt, integer, one } from '../query.ts'

export function eventRoutes(router: Router, services: Services): void {
  router.get('/v1/sessions/:id/events', allow('session:read'), async (ctx) => {
    const request = {
      cursor: cursor(ctx.query),
      limit: integer(ctx.query, 'limit', 'invalid_limit', { min: 1, max: PAGE.max }) ?? PAGE.default,
      order: choice(ctx.query, 'order', 'invalid_list_query', ['asc', 'desc']) ?? 'asc',
      type: filter(ctx, 'type'),
      actor: filter(ctx, 'actor'),
      waitMs:
        1000 * (integer(ctx.query, 'wait', 'invalid_list_query', { min: 0, max: MAX_WAIT_SECONDS }) ?? 0),
    }
    const seenAt = cursorInsertedAt(ctx.query)
    const session = await findSession(services, ctx)
    if (request.order === 'asc') await services.cursors.refuseAhead(request.cursor ?? 0, session.lastSeq)
    await services.cursors.check(session, request.cursor ?? 0, seenAt)
    // Whoever waits holds what a tail holds.
    const release = request.waitMs > 0 ? services.tailQuota.take((ctx.state as State).principal) : undefined
    const hold = (bytes: number) => holdAnswer(ctx, services.answers, bytes)
    const page = await whileWanted(ctx, services.sockets.draining, (signal) =>
      services.history.page({ ...request, sid: session.sid, lastSeq: session.lastSeq, signal, hold }),
    ).finally(release)
    answerJson(
      ctx,
      200,
      `{"events":[${page.frames.map((frame) => frame.text).join(',')}],"next_cursor":${page.nextCursor},"last_seq":${page.lastSeq}}`,
    )
  })
}

/** Runs with a signal that is aborted when the client goes away, its token ends, or the node drains. */
async function whileWanted<T>(
  ctx: Context,
  draining: AbortSignal,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const unwanted = new AbortController()
  const leave = () => unwanted.abort()
  if (draining.aborted) leave()
  ctx.res.once('close', leave)
  const unwatch = onTokenEnd((ctx.state as State).principal, leave)
  ctx.req.socket.once('end', leave) // gone, or done with sending: it need not wait for what may come
  // Not AbortSignal.any: it would keep something in the signal of the node for every request.
  draining.addEventListener('abort', leave, { once: true })
  try {
    return await run(unwanted.signal)
  } finally {
    unwatch()
    draining.removeEventListener('abort', leave)
    ctx.res.off('close', leave)
    ctx.req.socket.off('end', leave)
  }
}

function filter(ctx: Context, name: string): string | null {
  const value = one(ctx.query, name, 'invalid_list_query')
  if (value === '' || value?.includes('\0'))
    throw new AppError('invalid_list_query', `${name} must be a non-empty string without NUL`, {
      field: name,
    })
  return value ?? null
}
