import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Middleware } from 'koa'
import { classify, isUnavailable } from '../db/failure.ts'
import type { MemoryBudget } from '../lib/memoryBudget.ts'
import { DamagedObjectError, ObjectStoreError } from '../objects/objectStore.ts'
import type { Log } from '../ops/log.ts'
import { AppError, type ErrorCode } from '../protocol/errors.ts'
import { ClientGoneError } from './body.ts'
import { challenge } from './challenge.ts'
import { type State, sendJson } from './context.ts'
import { sendRawError } from './rawResponse.ts'
import { holdUntilSent } from './responseMemory.ts'
import { logOf } from './trace.ts'

/** Converts anything thrown to an AppError. Unexpected errors are logged, and clients see no details of them. */
export function toAppError(error: unknown, requestId: string, log: Log): AppError {
  if (error instanceof AppError && error.code !== 'internal_error') return error
  if (error instanceof ObjectStoreError || error instanceof DamagedObjectError) {
    const isPassing = error instanceof ObjectStoreError && error.kind === 'unavailable'
    log[isPassing ? 'warn' : 'error']({ err: error, requestId }, 'cold storage read failed')
    return new AppError(
      'archive_read_unavailable',
      'older events of the session are temporarily unavailable',
      { retry_after_ms: 1000 },
      { cause: error },
    )
  }
  if (isUnavailable(error)) {
    const message =
      classify(error) === 'locked'
        ? 'another transaction holds a lock that this request needs: try again'
        : 'Postgres is unavailable'
    log.warn({ err: error, requestId }, message)
    return new AppError('storage_unavailable', message, { retry_after_ms: 1000 }, { cause: error })
  }
  log.error({ err: error, requestId }, 'request failed')
  return new AppError(
    'internal_error',
    'internal error; the log of the node has the details under this request_id',
    { request_id: requestId },
  )
}

/**
 * Responds to every error with JSON. Koa's own error handling would drop the headers that are already set, CORS included.
 * Other responses are accounted in `budget`, when there is one.
 */
export function errorResponses(
  log: Log,
  onError: (code: ErrorCode) => void = () => {},
  budget?: MemoryBudget,
): Middleware {
  return async (ctx, next) => {
    try {
      await next()
      if (budget) holdUntilSent(ctx, budget)
    } catch (thrown) {
      ;(ctx.state as State).responseMemory?.close()
      if (thrown instanceof ClientGoneError || ctx.res.headersSent) {
        ;(ctx.state as State).clientGone = true
        ctx.respond = false
        ctx.req.socket.destroy()
        return
      }
      const error = toAppError(thrown, (ctx.state as State).requestId, logOf(ctx, log))
      onError(error.code)
      const retryAfterMs = error.details.retry_after_ms
      if (typeof retryAfterMs === 'number')
        ctx.set('Retry-After', String(Math.max(1, Math.ceil(retryAfterMs / 1000))))
      const authenticate = challenge(error)
      if (authenticate !== undefined) ctx.set('WWW-Authenticate', authenticate)
      // The rest of the body is not read, so the connection cannot carry another request.
      if (!ctx.req.complete) ctx.set('Connection', 'close')
      sendJson(ctx, error.status, JSON.stringify(error))
    }
  }
}

const PARSE_FAILURES: Readonly<Record<string, AppError>> = {
  HPE_HEADER_OVERFLOW: new AppError(
    'headers_too_large',
    'the request line and headers are larger than 16 KiB',
  ),
  ERR_HTTP_REQUEST_TIMEOUT: new AppError('request_timeout', 'the request was not received in time'),
}
const MALFORMED = new AppError('bad_request', 'the request is not valid HTTP/1.1')

/** Responds with JSON to bytes that are not a valid HTTP request. */
export function respondToClientErrors(server: Server, onError: (code: ErrorCode) => void): void {
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable) return socket.destroy()
    const answer = PARSE_FAILURES[error.code ?? ''] ?? MALFORMED
    onError(answer.code)
    sendRawError(socket, answer)
    return undefined
  })
}
