import type { Context } from 'koa'
import { traceFields } from '../lib/traceContext.ts'
import type { Log } from '../ops/log.ts'

/** The log for what is told of one request: with its trace, when the caller named one. */
export function logOf(ctx: Context, log: Log): Log {
  const trace = traceFields(ctx.req.headers.traceparent)
  return trace === undefined ? log : log.child({ ...trace })
}
