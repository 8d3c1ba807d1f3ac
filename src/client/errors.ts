import type { ErrorCode } from '../protocol/errors.ts'

/** What can go wrong on this side of the wire. */
export type ClientErrorCode =
  /**
   * No answer came, or not a whole one, or something in between gave one in the server's place (`status` says which): what
   * was asked may have been done.
   */
  | 'network_error'
  /** The browser says that it is offline. */
  | 'offline'
  /** The token function failed. */
  | 'token_unavailable'
  /** What came is not what this protocol answers: another kind of server, or something in between. */
  | 'invalid_answer'
  /** Again and again a read was sent events with a hole between. Nothing was skipped. */
  | 'events_missing'
  /** The outbox has as many events waiting as it takes. */
  | 'outbox_full'
  /** The outbox was closed, stopped, or ended by an error. */
  | 'outbox_closed'
  /** Another outbox, in another tab or process, has this producer. */
  | 'outbox_in_use'
  /** The store could not be read or written. */
  | 'store_failed'
  /** The producer was used before, and this outbox does not know how far: its store was lost. */
  | 'producer_state_lost'

/** Codes of later servers are told as they come. */
export type StarciteErrorCode = ErrorCode | ClientErrorCode | (string & {})

export type ErrorFacts = Readonly<Record<string, unknown>>

interface Facts extends ErrorOptions {
  readonly status?: number
  readonly details?: ErrorFacts
  readonly retryable?: boolean
  readonly retryAfterMs?: number | undefined
}

/** Statuses that say "later". The same request may be sent again. */
const isRetryableStatus = (status: number): boolean => status >= 500 || [408, 425, 429].includes(status)

/** Every failure of this client. Branch on `code`; `message` is for people. */
export class StarciteError extends Error {
  override readonly name = 'StarciteError'
  readonly code: StarciteErrorCode
  /** Of the HTTP answer; 0 when there was none. */
  readonly status: number
  /** Machine-readable: `current_seq`, `expected_producer_seq`, `index`, `field` … */
  readonly details: ErrorFacts
  /** The same request may succeed later. For appends without producer fields that does not mean that it is safe. */
  readonly retryable: boolean
  /** How long the server asks to wait. */
  readonly retryAfterMs: number | undefined

  /** Also of an error of another copy of this module: chunks and entries that are bundled apart may each have one. */
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

/** fetch of Node.js says "fetch failed", and why in the cause. */
function reasonOf(error: Error): string {
  const inner = error.cause instanceof Error ? error.cause.message : ''
  return inner && inner !== error.message ? `${error.message} (${inner})` : error.message
}

/** Whatever their status says. */
const NEVER_RETRYABLE = new Set(['history_damaged'])
/** What the server's codes look like. Other programs put "Bad Gateway", or a number, where it has one of these. */
const CODE = /^[a-z][a-z0-9_]*$/
/** A smaller body is refused for its size only by the server: no proxy has a bound that small. */
const LEAST_TOO_LARGE_BYTES = 1024

export interface RefusedRequest {
  /** `POST /v1/sessions` */
  readonly what: string
  /** Of the request's body. */
  readonly bytes: number
}

/**
 * The error that an answer is. Only one in the form of the server, `{"error": code}`, is its word; any other status comes
 * from something in between, and says nothing about what was asked, but for a body that is too large for it to pass on.
 */
export function errorFromAnswer(
  request: RefusedRequest,
  status: number,
  text: string,
  retryAfter: string | null,
): StarciteError {
  const refusal = status < 400 ? undefined : serverErrorFrom(status, text, retryAfter)
  if (status === 413 && (refusal !== undefined || request.bytes >= LEAST_TOO_LARGE_BYTES)) {
    const by = refusal ? 'the server' : 'something between this client and the server'
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
    `${request.what} was answered ${answer} by something between this client and the server`,
    {
      status,
      retryable: true,
      retryAfterMs: retryAfterMsFrom(parseObject(text)?.retry_after_ms, retryAfter),
    },
  )
}

/** What the server says in its form; undefined when the text has another. */
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
