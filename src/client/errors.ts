import type { ErrorCode } from '../protocol/errors.ts'

/** What can go wrong on this side of the wire. */
export type ClientErrorCode =
  /** No answer came, or not a whole one: what was asked may have been done. */
  | 'network_error'
  /** The token function failed. */
  | 'token_unavailable'
  /** What came is not what this protocol answers: another kind of server, or something in between. */
  | 'invalid_answer'
  /** Again and again a tail was sent events with a hole between. Nothing was skipped. */
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

/** Statuses that say "later", of ours or of whatever stands in between. The same request may be sent again. */
const RETRYABLE = new Set([408, 425, 429, 500, 502, 503, 504])

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

  constructor(code: StarciteErrorCode, message: string, facts: Facts = {}) {
    super(message, facts)
    this.code = code
    this.status = facts.status ?? 0
    this.details = facts.details ?? {}
    this.retryable = facts.retryable ?? RETRYABLE.has(this.status)
    this.retryAfterMs = facts.retryAfterMs
  }
}

export function networkError(cause: unknown, what: string): StarciteError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new StarciteError('network_error', `${what}: ${reason}`, { cause, retryable: true })
}

/** The error that an answer is, whoever gave it: a proxy's page has a status, and no code. */
export function errorOfAnswer(status: number, text: string, retryAfter: string | null): StarciteError {
  const body = parseObject(text)
  const { error, message, ...details } = body ?? {}
  const seconds = retryAfter === null ? Number.NaN : Number(retryAfter)
  const exactMs = Number(details.retry_after_ms ?? Number.NaN)
  const retryAfterMs = Number.isFinite(exactMs) ? exactMs : seconds * 1000
  return new StarciteError(
    typeof error === 'string' ? error : `http_${status}`,
    typeof message === 'string' ? message : `the server answered ${status}`,
    { status, details, retryAfterMs: Number.isFinite(retryAfterMs) ? retryAfterMs : undefined },
  )
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
