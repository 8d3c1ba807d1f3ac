import type { TProperties, TSchema } from 'typebox'
import { SCOPES } from '../../auth/principal.ts'
import { ERRORS, type ErrorCode } from '../../protocol/errors.ts'
import { Type } from '../jsonSchema.ts'
import { Count, closed, Seq } from './values.ts'

interface Described {
  readonly means: string
  /** The members of the response beside `error` and `message`. */
  readonly details?: TProperties
}

const field = Type.Optional(Type.String({ description: 'The invalid member, parameter or header.' }))
const index = Type.Optional(Count('The index of the event in its batch, from 0.'))
const max_bytes = Type.Integer({ minimum: 1, description: 'The limit, in bytes of JSON.' })
const retry_after_ms = Count('Milliseconds to wait before the next attempt; Retry-After has it in seconds.')
const wait = { retry_after_ms }
const flag = (description: string) => Type.Optional(Type.Literal(true, { description }))
const ofEvent = { field, index, max_bytes: Type.Optional(max_bytes) }

/** The meaning of every code, and the details that its response may have. No response has other details. */
const DESCRIBED: Readonly<Record<ErrorCode, Described>> = {
  invalid_json: {
    means: 'The body is not valid JSON in UTF-8, or is nested too deeply.',
    details: { index },
  },
  invalid_session: {
    means: 'A member of the session is invalid.',
    details: { field, max_bytes: Type.Optional(max_bytes) },
  },
  invalid_metadata: { means: '`metadata` is invalid.', details: ofEvent },
  invalid_refs: { means: '`refs` is invalid.', details: ofEvent },
  invalid_erasure: { means: 'A member of the erasure is invalid.', details: { field } },
  invalid_event: {
    means: 'A member of the event or the batch is invalid.',
    details: { ...ofEvent, max_events: Type.Optional(Seq('The most events that a batch may have.')) },
  },
  invalid_cursor: { means: 'The cursor is invalid for this operation.', details: { field } },
  invalid_limit: { means: '`limit` is out of range.', details: { field } },
  invalid_list_query: { means: 'A query parameter is invalid.', details: { field } },
  invalid_tail_batch_size: { means: '`batch_size` is out of range.', details: { field } },
  invalid_tails: {
    means: 'The list of tails is invalid.',
    details: { field, index, max_tails: Type.Optional(Seq('The most tails that a stream may have.')) },
  },
  invalid_websocket_upgrade: {
    means: 'The path requires a WebSocket handshake, and the request is not a valid one.',
  },
  bad_request: { means: 'The request is not valid HTTP/1.1.' },
  unauthorized: {
    means: 'The token is missing or invalid.',
    details: {
      token_missing: flag('The request has no token.'),
      token_expired: flag('The token has expired.'),
    },
  },
  token_expired: { means: 'The token has expired; renew it.' },
  forbidden: { means: 'The operation requires the token of a service.' },
  forbidden_host: { means: 'The node does not serve the host name in `Host`.' },
  forbidden_origin: { means: 'Pages of this `Origin` are not allowed to call the node.' },
  forbidden_scope: {
    means: 'The token lacks the required scope.',
    details: { required_scope: Type.Enum([...SCOPES]) },
  },
  forbidden_session: { means: 'The token is locked to another session.' },
  actor_mismatch: {
    means: "`actor` differs from the token's `sub`, and the token lacks the scope `session:act_as`.",
    details: { field, index },
  },
  request_timeout: { means: 'The request was not received in time.' },
  headers_too_large: { means: 'The request line and headers are too large.' },
  not_found: { means: 'The path does not exist.' },
  session_not_found: { means: 'The tenant has no such session.' },
  event_not_found: { means: 'The session has no event with this seq.' },
  erasure_not_found: { means: 'The tenant has no such erasure.' },
  method_not_allowed: { means: 'The path does not support the method; Allow lists those that it does.' },
  session_exists: { means: 'The tenant already has a session with this id.' },
  expected_version_conflict: {
    means: 'The session has another version.',
    details: { current_version: Seq('The current version.') },
  },
  expected_seq_conflict: {
    means: 'The newest event of the session has another seq.',
    details: { current_seq: Count('The current last_seq.'), index },
  },
  producer_seq_conflict: {
    means: '`producer_seq` is neither the next one nor that of a retry.',
    details: { expected_producer_seq: Seq('The producer_seq that comes next.'), index },
  },
  producer_replay_conflict: {
    means: '`producer_seq` was already used for a different event.',
    details: { index },
  },
  cursor_ahead: {
    means: 'The cursor is beyond the end of the session.',
    details: { last_seq: Count('The newest seq of the session.') },
  },
  history_changed: {
    means:
      'The log went back, as after a restore of the database, so events that were read may be gone. Read the session again.',
    details: { last_seq: Type.Optional(Count('The newest seq of the session now.')) },
  },
  legal_hold: { means: 'The session is under a legal hold.' },
  session_erased: { means: 'The session was erased.' },
  body_too_large: {
    means: 'The body, or an event of a batch, exceeds the limit.',
    details: { max_bytes, index },
  },
  unsupported_media_type: { means: 'The type, charset or encoding of the body is not supported.' },
  append_backpressure: {
    means: 'The append queue, or the memory for request bodies, is full.',
    details: wait,
  },
  rate_limited: { means: 'The tenant exceeded its rate limit.', details: wait },
  too_many_tails: {
    means: 'The principal has reached its limit of open tails on the node.',
    details: { ...wait, max_tails: Count('The limit.') },
  },
  internal_error: {
    means: 'The node failed; whether the operation took effect is unknown.',
    details: { request_id: Type.String({ description: 'The id under which the node logged the error.' }) },
  },
  history_damaged: {
    means: 'An event that must exist is missing. Readers never skip it; the operator has to repair the log.',
    details: { seq: Type.Optional(Seq('The first missing event.')) },
  },
  auth_unavailable: {
    means: 'The keys that verify tokens are unavailable.',
    details: wait,
  },
  too_many_sockets: { means: 'The node has reached its limit of open connections.', details: wait },
  overloaded: { means: 'The node is overloaded.', details: wait },
  storage_unavailable: {
    means: 'Postgres is unavailable or read-only.',
    details: {
      ...wait,
      outcome_unknown: flag(
        'The events may be stored. With producer_id and producer_seq it is safe to send them again.',
      ),
    },
  },
  archive_read_unavailable: { means: 'Older events are temporarily unavailable.', details: wait },
  draining: { means: 'The node is shutting down; send the request to another node.', details: wait },
}

const pascal = (code: string) => code.replaceAll(/(?:^|_)(.)/g, (_, letter: string) => letter.toUpperCase())

/** The meaning of a code, in a sentence or two. */
export function meaningOf(code: ErrorCode): string {
  return DESCRIBED[code].means + (ERRORS[code].retry ? ' The same request may be sent again.' : '')
}

/** The schema of a response with this code. */
export function errorSchema(code: ErrorCode) {
  const { details } = DESCRIBED[code]
  return closed(
    {
      error: Type.Literal(code),
      message: Type.String({ minLength: 1, description: 'A sentence for people; do not parse it.' }),
      ...details,
    },
    { title: pascal(code), description: meaningOf(code) },
  )
}

/** Whether responses with this code have Retry-After. */
export const hasRetryAfter = (code: ErrorCode): boolean =>
  DESCRIBED[code].details?.retry_after_ms !== undefined

/** The schema of a response with one of several codes, which `error` discriminates. */
export function errorsSchema(codes: readonly ErrorCode[]): TSchema {
  const [first, ...more] = codes
  if (first !== undefined && more.length === 0) return errorSchema(first)
  return Type.Unsafe({
    type: 'object',
    required: ['error'],
    properties: { error: { type: 'string', enum: codes } },
    oneOf: codes.map(errorSchema),
  })
}

/** The discriminator object of OpenAPI: the schema for each value of `error`. */
export const discriminatorOf = (codes: readonly ErrorCode[]): object => ({
  propertyName: 'error',
  mapping: Object.fromEntries(codes.map((code) => [code, `#/components/schemas/${pascal(code)}`])),
})
