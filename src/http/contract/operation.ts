import type { TSchema } from 'typebox'
import type { Scope } from '../../auth/principal.ts'
import { ERRORS, type ErrorCode } from '../../protocol/errors.ts'
import { saysWhen } from './errors.ts'

export type Tag = 'sessions' | 'events' | 'erasure' | 'lifecycle' | 'operations' | 'contract'
export type HeaderName = 'Location' | 'ETag' | 'Upgrade'
export type Content = Readonly<Record<string, TSchema>>

export interface Parameter {
  readonly name: string
  readonly in: 'query' | 'header'
  readonly description: string
  readonly schema: TSchema
  readonly style?: 'deepObject'
}

/** An answer that is no error. */
export interface Answer {
  readonly description: string
  /** By media type; none: there is no body. */
  readonly content?: Content
  readonly headers?: readonly HeaderName[]
}

/** What a client can know of one route and method. */
export interface Operation {
  readonly method: 'get' | 'post' | 'patch' | 'delete'
  /** As the router has it. */
  readonly path: string
  readonly id: string
  readonly tag: Tag
  readonly summary: string
  readonly description?: string
  /** What the token must allow; undefined: open to everybody, or decided by the route in its own way. */
  readonly scope?: Scope
  /** The name of the query parameter that may hold the token instead of the header. */
  readonly tokenParameter?: 'access_token' | 'token'
  readonly parameters?: readonly Parameter[]
  readonly body?: { readonly required: boolean; readonly content: Content }
  readonly answers: Readonly<Record<number, Answer>>
  /** Beside those that follow from the members above. */
  readonly errors: readonly ErrorCode[]
}

const OF_EVERY_REQUEST = ['bad_request', 'request_timeout', 'headers_too_large', 'internal_error'] as const
/** Of what may be long. */
const OF_MEMORY = ['overloaded'] as const
const OF_THE_API = ['forbidden_host', 'forbidden_origin'] as const
const OF_TOKENS = [
  'unauthorized',
  'forbidden_scope',
  'auth_unavailable',
  'rate_limited',
  'storage_unavailable',
] as const
const OF_SESSIONS = ['forbidden_session', 'session_not_found', 'session_erased'] as const
const OF_BODIES = ['invalid_json', 'body_too_large', 'unsupported_media_type', 'append_backpressure'] as const

/** Every code that it may be answered, in the order of the list of all. */
export function errorsOf({ answers, body, errors, path, scope }: Operation): ErrorCode[] {
  const possible = new Set<ErrorCode>([
    ...OF_EVERY_REQUEST,
    ...(answers[503] === undefined ? OF_MEMORY : []),
    ...(path.startsWith('/v1/') && answers[403] === undefined ? OF_THE_API : []),
    ...(scope === undefined ? [] : OF_TOKENS),
    ...(path.startsWith('/v1/sessions/:id') ? OF_SESSIONS : []),
    ...(body === undefined ? [] : OF_BODIES),
    ...errors,
  ])
  return (Object.keys(ERRORS) as ErrorCode[]).filter((code) => possible.has(code))
}

/** The headers of an error answer of this status, and whether each of its codes has them. */
export function headersOf(codes: readonly ErrorCode[]): { name: string; always: boolean }[] {
  const found = (name: string, has: (code: ErrorCode) => boolean) =>
    codes.some(has) ? [{ name, always: codes.every(has) }] : []
  return [
    ...found('Retry-After', saysWhen),
    ...found('WWW-Authenticate', (code) => code === 'unauthorized' || code === 'forbidden_scope'),
    ...found('Allow', (code) => code === 'method_not_allowed'),
  ]
}
