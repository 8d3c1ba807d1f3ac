import type { Context } from 'koa'
import { traceFields } from '../lib/traceContext.ts'
import type { Log } from '../ops/log.ts'

/** A log for one request, with the trace context that the client sent, if any. */
export function logOf(ctx: Context, log: Log): Log {
  const trace = traceFields(ctx.req.headers.traceparent)
  return trace === undefined ? log : log.child({ ...trace })
}
