import { ERRORS, type ErrorCode } from '../../protocol/errors.ts'
import type { Operation } from '../operation.ts'
import { hasRetryAfter } from './errors.ts'

const OF_EVERY_REQUEST = ['bad_request', 'request_timeout', 'headers_too_large', 'internal_error'] as const
/** Of operations whose responses may be large. */
const OF_MEMORY = ['overloaded'] as const
const OF_THE_API = ['forbidden_host', 'forbidden_origin'] as const
const OF_TOKENS = [
  'unauthorized',
  'forbidden_scope',
  'auth_unavailable',
  'rate_limited',
  'storage_unavailable',
] as const
const OF_SERVICES = ['forbidden', 'forbidden_session'] as const
const OF_SESSIONS = ['forbidden_session', 'session_not_found', 'session_erased'] as const
const OF_BODIES = ['invalid_json', 'body_too_large', 'unsupported_media_type', 'append_backpressure'] as const
const OF_CONNECTIONS = ['too_many_sockets', 'draining'] as const

/** Every error code that an operation may respond with, in the order of ERRORS. */
export function errorsOf(operation: Operation): ErrorCode[] {
  const {
    answers,
    body,
    errors,
    eventStream,
    parameters = {},
    path,
    scope,
    servicesOnly,
    webSocket,
  } = operation
  const possible = new Set<ErrorCode>([
    ...OF_EVERY_REQUEST,
    ...(answers[503] === undefined ? OF_MEMORY : []),
    ...(path.startsWith('/v1/') && answers[403] === undefined ? OF_THE_API : []),
    ...(scope === undefined ? [] : OF_TOKENS),
    ...(servicesOnly ? OF_SERVICES : []),
    ...(path.startsWith('/v1/sessions/:id') ? OF_SESSIONS : []),
    ...Object.values(parameters).flatMap(({ error }) => error ?? []),
    ...(body === undefined ? [] : [...OF_BODIES, ...body.errors]),
    ...(webSocket || eventStream ? OF_CONNECTIONS : []),
    ...(webSocket ? (['invalid_websocket_upgrade'] as const) : []),
    ...errors,
  ])
  return (Object.keys(ERRORS) as ErrorCode[]).filter((code) => possible.has(code))
}

/** The headers of an error response with one of these codes, and whether every code has them. */
export function headersOf(codes: readonly ErrorCode[]): { name: string; always: boolean }[] {
  const found = (name: string, has: (code: ErrorCode) => boolean) =>
    codes.some(has) ? [{ name, always: codes.every(has) }] : []
  return [
    ...found('Retry-After', hasRetryAfter),
    ...found('WWW-Authenticate', (code) => code === 'unauthorized' || code === 'forbidden_scope'),
    ...found('Allow', (code) => code === 'method_not_allowed'),
  ]
}
