import type { Context } from 'koa'
import { onTokenEnd } from '../auth/tokenEnd.ts'
import type { State } from './context.ts'

/** Runs with a signal that is aborted when the client goes away, its token ends, or the node drains. */
export async function withRequestSignal<T>(
  ctx: Context,
  draining: AbortSignal,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const unwanted = new AbortController()
  const leave = () => unwanted.abort()
  if (draining.aborted) leave()
  ctx.res.once('close', leave)
  const unwatch = onTokenEnd((ctx.state as State).principal, leave)
  ctx.req.socket.once('end', leave) // the client disconnected, or half-closed the connection and need not wait
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
