import type { TProperties, TSchema } from 'typebox'
import { SCOPES } from '../../auth/principal.ts'
import { ERRORS, type ErrorCode } from '../../protocol/errors.ts'
import { Type } from '../jsonSchema.ts'
import { Count, closed, Seq } from './values.ts'

interface Described {
  readonly means: string
  /** Members beside `error` and `message`. */
  readonly details?: TProperties
}

const field = Type.Optional(Type.String({ description: 'The member, parameter or header that is wrong.' }))
const index = Type.Optional(Count('Which event of a batch it is about, from 0.'))
const max_bytes = Type.Integer({ minimum: 1, description: 'The bound, in bytes of JSON.' })
const retry_after_ms = Count('When it may be sent again; Retry-After says it in seconds.')
const wait = { retry_after_ms }
const flag = (description: string) => Type.Optional(Type.Literal(true, { description }))
const ofEvent = { field, index, max_bytes: Type.Optional(max_bytes) }

/** What every code means, and all that its answer may carry. A detail that is not here is not in the contract. */
const DESCRIBED: Readonly<Record<ErrorCode, Described>> = {
  invalid_json: { means: 'The body is not JSON in UTF-8, or nested too deep.', details: { index } },
  invalid_session: {
    means: 'A member of the session is not what it should be.',
    details: { field, max_bytes: Type.Optional(max_bytes) },
  },
  invalid_metadata: { means: '`metadata` cannot be taken.', details: ofEvent },
  invalid_refs: { means: '`refs` cannot be taken.', details: ofEvent },
  invalid_erasure: { means: 'The body of the erasure is not what it should be.', details: { field } },
  invalid_event: {
    means: 'A member of the event, or the batch, is not what it should be.',
    details: { ...ofEvent, max_events: Type.Optional(Seq('How many events a batch may have.')) },
  },
  invalid_cursor: { means: 'The cursor is not one of this call.', details: { field } },
  invalid_limit: { means: 'The limit is out of its range.', details: { field } },
  invalid_list_query: { means: 'A parameter of the query is not what it should be.', details: { field } },
  invalid_tail_batch_size: { means: '`batch_size` is out of its range.', details: { field } },
  invalid_tails: {
    means: 'The list of tails is not what it should be.',
    details: { field, index, max_tails: Type.Optional(Seq('How many tails a stream may have.')) },
  },
  invalid_websocket_upgrade: { means: 'This path takes a WebSocket handshake, and this is none.' },
  bad_request: { means: 'The request is not valid HTTP/1.1.' },
  unauthorized: {
    means: 'No token, or one that is not good.',
    details: {
      token_missing: flag('There was none.'),
      token_expired: flag('It was good until its `exp`.'),
    },
  },
  token_expired: { means: 'The token was good until its `exp`; renew it.' },
  forbidden: { means: "This takes a service's token." },
  forbidden_host: { means: 'The node is not served under the name in `Host`.' },
  forbidden_origin: { means: 'Pages of this `Origin` may not call the node.' },
  forbidden_scope: {
    means: 'The token lacks the scope.',
    details: { required_scope: Type.Enum([...SCOPES]) },
  },
  forbidden_session: { means: 'The token is locked to another session.' },
  actor_mismatch: {
    means: "`actor` is given, is not the token's `sub`, and the token lacks `session:act_as`.",
    details: { field, index },
  },
  request_timeout: { means: 'The request did not arrive in time.' },
  headers_too_large: { means: 'The request line and headers are too large.' },
  not_found: { means: 'There is nothing at this path.' },
  session_not_found: { means: 'There is no such session in the tenant.' },
  event_not_found: { means: 'The session has no event of this seq.' },
  erasure_not_found: { means: 'There is no such erasure in the tenant.' },
  method_not_allowed: { means: 'The path takes other methods; Allow names them.' },
  session_exists: { means: 'The tenant has a session of this id.' },
  expected_version_conflict: {
    means: 'The session is at another version.',
    details: { current_version: Seq('The version that it is at.') },
  },
  expected_seq_conflict: {
    means: 'The session is at another seq.',
    details: { current_seq: Count('The last_seq that it is at.'), index },
  },
  producer_seq_conflict: {
    means: '`producer_seq` is neither the next one nor a retry.',
    details: { expected_producer_seq: Seq('The next one.'), index },
  },
  producer_replay_conflict: {
    means: '`producer_seq` was used for an event of other content.',
    details: { index },
  },
  cursor_ahead: {
    means: 'The cursor is beyond the end of the session.',
    details: { last_seq: Count('Where the end is.') },
  },
  history_changed: {
    means:
      'The log went back, as when the database is restored: what was read of it may be gone. Read the session again.',
    details: { last_seq: Type.Optional(Count('Where the end is now.')) },
  },
  legal_hold: { means: 'The session is under a legal hold.' },
  session_erased: { means: 'The session was erased.' },
  body_too_large: { means: 'The body, or an event of a batch, is too large.', details: { max_bytes, index } },
  unsupported_media_type: { means: 'The type, charset or encoding of the body is not taken here.' },
  append_backpressure: { means: 'The node has as much to store as it takes.', details: wait },
  rate_limited: { means: 'The tenant has made as many requests as it may.', details: wait },
  too_many_tails: {
    means: 'The principal has as many tails open here as it may.',
    details: { ...wait, max_tails: Count('How many that is.') },
  },
  internal_error: {
    means: 'A fault on our side; whether it was done is not known.',
    details: { request_id: Type.String({ description: 'What to look for in the logs.' }) },
  },
  history_damaged: {
    means:
      'An event that must exist cannot be found. Nothing is skipped; the operator has to repair the log.',
    details: { seq: Type.Optional(Seq('The first event that is missing.')) },
  },
  auth_unavailable: {
    means: 'The keys that it takes to judge the token cannot be had now.',
    details: wait,
  },
  too_many_sockets: { means: 'The node serves as many sockets as it takes.', details: wait },
  overloaded: { means: 'The node has too much of this to do, or in memory; try again.', details: wait },
  storage_unavailable: {
    means: 'Postgres cannot be reached, or cannot write.',
    details: {
      ...wait,
      outcome_unknown: flag('It may be stored. With producer fields it is safe to repeat.'),
    },
  },
  archive_read_unavailable: { means: 'Older events cannot be read now.', details: wait },
  draining: { means: 'The node is stopping: another one takes this.', details: wait },
}

const pascal = (code: string) => code.replaceAll(/(?:^|_)(.)/g, (_, letter: string) => letter.toUpperCase())

/** A sentence or two. */
export function meaningOf(code: ErrorCode): string {
  return DESCRIBED[code].means + (ERRORS[code].retry ? ' The same request may be sent again.' : '')
}

/** The body of the answer that carries this code. */
export function errorSchema(code: ErrorCode) {
  const { details } = DESCRIBED[code]
  return closed(
    {
      error: Type.Literal(code),
      message: Type.String({ minLength: 1, description: 'A sentence for people; never parse it.' }),
      ...details,
    },
    { title: pascal(code), description: meaningOf(code) },
  )
}

/** Whether it comes with Retry-After. */
export const hasRetryAfter = (code: ErrorCode): boolean =>
  DESCRIBED[code].details?.retry_after_ms !== undefined

/** One of several codes, each with its own shape, told apart by `error`. */
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

/** Which shape goes with which `error`, as OpenAPI wants to be told beside the shapes. */
export const discriminatorOf = (codes: readonly ErrorCode[]): object => ({
  propertyName: 'error',
  mapping: Object.fromEntries(codes.map((code) => [code, `#/components/schemas/${pascal(code)}`])),
})
