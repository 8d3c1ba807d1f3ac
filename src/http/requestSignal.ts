import type { Context } from 'koa'
import { onTokenEnd } from '../auth/tokenEnd.ts'
import { LinkedAbort } from '../lib/linkedAbort.ts'
import type { State } from './context.ts'

/** Runs with a signal that is aborted when the client goes away, its token ends, or the node drains. */
export async function withRequestSignal<T>(
  ctx: Context,
  draining: AbortSignal,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const request = new LinkedAbort([draining])
  const leave = () => request.abort()
  ctx.res.once('close', leave)
  const unwatch = onTokenEnd((ctx.state as State).principal, leave)
  ctx.req.socket.once('end', leave) // the client disconnected, or half-closed the connection and need not wait
  try {
    return await run(request.signal)
  } finally {
    unwatch()
    request.release()
    ctx.res.off('close', leave)
    ctx.req.socket.off('end', leave)
  }
}
