/**
 * Every error that clients can get, by its code. The codes and statuses are part of the wire contract: clients branch on `error`,
 * never on `message`, and may repeat a request unchanged after an error with `retry: true`.
 */
export const ERRORS = {
  invalid_json: { status: 400, retry: false },
  invalid_session: { status: 400, retry: false },
  invalid_metadata: { status: 400, retry: false },
  invalid_refs: { status: 400, retry: false },
  invalid_erasure: { status: 400, retry: false },
  invalid_event: { status: 400, retry: false },
  invalid_cursor: { status: 400, retry: false },
  invalid_limit: { status: 400, retry: false },
  invalid_list_query: { status: 400, retry: false },
  invalid_tail_batch_size: { status: 400, retry: false },
  invalid_tails: { status: 400, retry: false },
  invalid_websocket_upgrade: { status: 400, retry: false },
  bad_request: { status: 400, retry: false },
  unauthorized: { status: 401, retry: false },
  token_expired: { status: 401, retry: false },
  forbidden: { status: 403, retry: false },
  forbidden_host: { status: 403, retry: false },
  forbidden_origin: { status: 403, retry: false },
  forbidden_scope: { status: 403, retry: false },
  forbidden_session: { status: 403, retry: false },
  actor_mismatch: { status: 403, retry: false },
  request_timeout: { status: 408, retry: true },
  headers_too_large: { status: 431, retry: false },
  not_found: { status: 404, retry: false },
  session_not_found: { status: 404, retry: false },
  event_not_found: { status: 404, retry: false },
  erasure_not_found: { status: 404, retry: false },
  method_not_allowed: { status: 405, retry: false },
  session_exists: { status: 409, retry: false },
  expected_version_conflict: { status: 409, retry: false },
  expected_seq_conflict: { status: 409, retry: false },
  producer_seq_conflict: { status: 409, retry: false },
  producer_replay_conflict: { status: 409, retry: false },
  cursor_ahead: { status: 409, retry: false },
  history_changed: { status: 409, retry: false },
  legal_hold: { status: 409, retry: false },
  session_erased: { status: 410, retry: false },
  body_too_large: { status: 413, retry: false },
  unsupported_media_type: { status: 415, retry: false },
  append_backpressure: { status: 429, retry: true },
  rate_limited: { status: 429, retry: true },
  too_many_tails: { status: 429, retry: true },
  internal_error: { status: 500, retry: true },
  history_damaged: { status: 500, retry: false },
  auth_unavailable: { status: 503, retry: true },
  too_many_sockets: { status: 503, retry: true },
  storage_unavailable: { status: 503, retry: true },
  archive_read_unavailable: { status: 503, retry: true },
  overloaded: { status: 503, retry: true },
  draining: { status: 503, retry: true },
} as const satisfies Record<string, { status: number; retry: boolean }>

export type ErrorCode = keyof typeof ERRORS

/** Machine-readable details beside the message: `field`, `index`, `current_seq`, `retry_after_ms` … */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | null>>

export class AppError extends Error {
  override readonly name = 'AppError'
  readonly code: ErrorCode
  readonly details: ErrorDetails

  /** `message` says what failed, the limit, and what to do. It names the field or value. */
  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.details = details
  }

  get status(): number {
    return ERRORS[this.code].status
  }

  /** The body of the response, on every transport. */
  toJSON(): object {
    return { error: this.code, message: this.message, ...this.details }
  }
}

/** The error for data that a Postgres replica does not have yet, and its primary may have. */
export const replicaLags = (): AppError =>
  new AppError('storage_unavailable', 'the Postgres replica has not caught up yet', {
    retry_after_ms: 1000,
  })

/** The error for a reader whose session is known with another log: which of the two the database has is being read. */
export const logMayHaveGoneBack = (): AppError =>
  new AppError('storage_unavailable', 'the database may have gone back to an earlier state: try again', {
    retry_after_ms: 1000,
  })

/** The close codes and reasons of WebSockets. 1000 is reserved for the end of `follow=false`, which clients take as finished. */
export const CLOSE = {
  finished: { code: 1000, reason: 'finished' },
  binary: { code: 1003, reason: 'text_frames_only' },
  malformed: { code: 1007, reason: 'invalid_frame' },
  internal: { code: 1011, reason: 'internal_error' },
  damaged: { code: 1011, reason: 'history_damaged' },
  draining: { code: 1012, reason: 'draining' },
  slow: { code: 1013, reason: 'slow_consumer' },
  overloaded: { code: 1013, reason: 'overloaded' },
  expired: { code: 4001, reason: 'token_expired' },
  tokenInvalid: { code: 4001, reason: 'token_invalid' },
  erased: { code: 4004, reason: 'session_erased' },
  silent: { code: 4008, reason: 'heartbeat_timeout' },
  unfinished: { code: 4008, reason: 'message_timeout' },
  changed: { code: 4009, reason: 'history_changed' },
} as const

export type Close = (typeof CLOSE)[keyof typeof CLOSE]
