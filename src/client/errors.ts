import type { ErrorCode } from '../protocol/errors.ts'

/** Errors that the client detects itself. */
export type ClientErrorCode =
  /**
   * The response is missing or incomplete, or an intermediary sent it in the server's place (with a `status`). The server
   * may have processed the request.
   */
  | 'network_error'
  /** The browser reports that it is offline. */
  | 'offline'
  /** The token function failed. */
  | 'token_unavailable'
  /** The response does not follow the protocol: it comes from another kind of server, or from an intermediary. */
  | 'invalid_answer'
  /** A read received events with a gap several times in a row. It skipped no event. */
  | 'events_missing'
  /** The outbox holds `maxPending` events. */
  | 'outbox_full'
  /** The outbox was closed, was stopped, or ended with an error. */
  | 'outbox_closed'
  /** Another outbox, in another tab or process, uses this producer. */
  | 'outbox_in_use'
  /** The store could not be read or written. */
  | 'store_failed'
  /** The producer was used before, but the store does not know its last number: the store was lost. */
  | 'producer_state_lost'

/** Newer servers may send codes that are not listed here. */
export type StarciteErrorCode = ErrorCode | ClientErrorCode | (string & {})

export type ErrorFacts = Readonly<Record<string, unknown>>

interface Facts extends ErrorOptions {
  readonly status?: number
  readonly details?: ErrorFacts
  readonly retryable?: boolean
  readonly retryAfterMs?: number | undefined
}

/** Statuses after which the same request may be sent again. */
const isRetryableStatus = (status: number): boolean => status >= 500 || [408, 425, 429].includes(status)

/** Every failure of this client. Branch on `code`; `message` is for people. */
export class StarciteError extends Error {
  override readonly name = 'StarciteError'
  readonly code: StarciteErrorCode
  /** The status of the HTTP response; 0 without a response. */
  readonly status: number
  /** Machine-readable: `current_seq`, `expected_producer_seq`, `index`, `field` … */
  readonly details: ErrorFacts
  /** The same request may succeed later. Repeating an append without producer fields may still store it twice. */
  readonly retryable: boolean
  /** The wait that the server asks for. */
  readonly retryAfterMs: number | undefined

  /** Recognizes errors of another copy of this module too: chunks and entries that are bundled apart may each have one. */
  static override [Symbol.hasInstance](value: unknown): value is StarciteError {
    return value instanceof Error && value.name === 'StarciteError'
  }

  constructor(code: StarciteErrorCode, message: string, facts: Facts = {}) {
    super(message, facts)
    this.code = code
    this.status = facts.status ?? 0
    this.details = facts.details ?? {}
    this.retryable = facts.retryable ?? isRetryableStatus(this.status)
    this.retryAfterMs = facts.retryAfterMs
  }
}

export function networkError(cause: unknown, what: string): StarciteError {
  const reason = cause instanceof Error ? reasonOf(cause) : String(cause)
  return new StarciteError('network_error', `${what}: ${reason}`, { cause, retryable: true })
}

/** The message with that of its cause: the fetch of Node.js gives the reason only there. */
function reasonOf(error: Error): string {
  const inner = error.cause instanceof Error ? error.cause.message : ''
  return inner && inner !== error.message ? `${error.message} (${inner})` : error.message
}

/** Codes after which a retry does not help, although their status is retryable. */
const NEVER_RETRYABLE = new Set(['history_damaged'])
/** The form of the server's codes. Other programs put "Bad Gateway" or a number in the same member. */
const CODE = /^[a-z][a-z0-9_]*$/
/** For a smaller body only the server answers 413: no proxy has a limit that low. */
const LEAST_TOO_LARGE_BYTES = 1024

export interface RefusedRequest {
  /** `POST /v1/sessions` */
  readonly what: string
  /** The size of the request's body. */
  readonly bytes: number
}

/**
 * The error that an HTTP response stands for. A response is the server's only in the form `{"error": code}`. Any other
 * comes from an intermediary and says nothing about the outcome, except 413: the body is too large for the intermediary.
 */
export function errorFromAnswer(
  request: RefusedRequest,
  status: number,
  text: string,
  retryAfter: string | null,
): StarciteError {
  const refusal = status < 400 ? undefined : serverErrorFrom(status, text, retryAfter)
  if (status === 413 && (refusal !== undefined || request.bytes >= LEAST_TOO_LARGE_BYTES)) {
    const by = refusal ? 'the server' : 'an intermediary'
    const message = `${request.what} with ${request.bytes} bytes is too large for ${by}`
    return new StarciteError(
      refusal?.code ?? 'body_too_large',
      refusal ? `${message}: ${refusal.message}` : message,
      {
        status,
        details: {
          ...refusal?.details,
          bytes: request.bytes,
          refused_by: refusal ? 'server' : 'intermediary',
        },
      },
    )
  }
  if (refusal !== undefined) return refusal
  const answer = status === 0 ? 'with a redirect' : `${status}`
  return new StarciteError(
    'network_error',
    `${request.what} was answered ${answer} by an intermediary, not by the server`,
    {
      status,
      retryable: true,
      retryAfterMs: retryAfterMsFrom(parseObject(text)?.retry_after_ms, retryAfter),
    },
  )
}

/** The error in the server's form; undefined when the text has another form. */
export function serverErrorFrom(
  status: number,
  text: string,
  retryAfter: string | null = null,
): StarciteError | undefined {
  const { error, message, ...details } = parseObject(text) ?? {}
  if (typeof error !== 'string' || !CODE.test(error)) return undefined
  return new StarciteError(error, typeof message === 'string' ? message : `the server answered ${status}`, {
    status,
    details,
    retryable: !NEVER_RETRYABLE.has(error) && isRetryableStatus(status),
    retryAfterMs: retryAfterMsFrom(details.retry_after_ms, retryAfter),
  })
}

function retryAfterMsFrom(exactMs: unknown, retryAfter: string | null): number | undefined {
  const ms =
    typeof exactMs === 'number' ? exactMs : retryAfter === null ? Number.NaN : Number(retryAfter) * 1000
  return ms >= 0 ? ms : undefined
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
