import { Backoff } from '../backoff.ts'
import { errorFromAnswer, networkError, StarciteError } from '../errors.ts'
import { PageWakeups } from '../pageWakeups.ts'
import { utf8Bytes } from '../utf8.ts'
import type { ReadAnswer } from './answers.ts'
import type { Tokens } from './tokens.ts'

export type Fetch = (url: string, init: RequestInit) => Promise<Response>
export type Query = Readonly<Record<string, string | number | boolean | undefined>>

export interface Call {
  readonly method?: string
  readonly path: string
  readonly query?: Query
  /** JSON text. */
  readonly body?: string
  readonly contentType?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal | undefined
  /** The call is idempotent: it reads, or the server processes its repetition once. */
  readonly retry?: boolean
  /** The maximum number of attempts. Default: 4 with `retry`, else 1. */
  readonly attempts?: number
}

/** The time for a response, plus what a slow link needs for the body. A silent link cannot be told from a slow server. */
const TIMEOUT_MS = 15_000
const SLOW_BYTES_PER_MS = 32
const MAX_ATTEMPTS = 4
const RETRY_BASE_MS = 200
const RETRY_MAX_MS = 3000
const MAX_REDIRECTS = 5
const READ_REDIRECTS = [301, 302, 303, 307, 308]
/** Redirects that keep the method and the body. For the others fetch turns a POST into a GET. */
const WRITE_REDIRECTS = [307, 308]

const methodOf = (call: Call): string => call.method ?? 'GET'
const nameOf = (call: Call): string => `${methodOf(call)} ${call.path}`
const isRead = (call: Call): boolean => methodOf(call) === 'GET'

/**
 * The HTTP requests of one client: URL, token, retries and errors. Rejects with StarciteError, and resolves only with a
 * response that follows the contract.
 */
export class Http {
  readonly #base: string
  readonly #fetch: Fetch
  readonly tokens: Tokens

  constructor(base: string, tokens: Tokens, fetch: Fetch) {
    this.#base = base.replace(/\/+$/, '')
    this.tokens = tokens
    this.#fetch = fetch
  }

  url(path: string, query: Query = {}): string {
    const pairs = Object.entries(query).flatMap(([name, value]) =>
      value === undefined ? [] : [`${encodeURIComponent(name)}=${encodeURIComponent(value)}`],
    )
    return `${this.#base}${path}${pairs.length > 0 ? `?${pairs.join('&')}` : ''}`
  }

  /** The response as `read` parses it. An abort by the caller rejects with the caller's reason. */
  async answer<T>(call: Call, read: ReadAnswer<T>): Promise<T> {
    const attempts = call.attempts ?? (call.retry ? MAX_ATTEMPTS : 1)
    const wakeups = new PageWakeups(call.signal ?? new AbortController().signal)
    const backoff = new Backoff(RETRY_BASE_MS, RETRY_MAX_MS)
    try {
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await this.#answerOnce(call, read)
        } catch (error) {
          if (attempt >= attempts || !(error instanceof StarciteError) || !error.retryable) throw error
          await wakeups.wait(backoff.next(error.retryAfterMs))
        }
      }
    } finally {
      wakeups.stop()
    }
  }

  async #answerOnce<T>(call: Call, read: ReadAnswer<T>): Promise<T> {
    const sendingMs = (call.body?.length ?? 0) / SLOW_BYTES_PER_MS
    return withTimeout(TIMEOUT_MS + sendingMs, call.signal, async (signal) => {
      const { status, text } = await this.open(call, signal).then(async (response) => ({
        status: response.status,
        text: await response.text(),
      }))
      if (status !== 200 && status !== 201) throw invalidAnswer(call, status, 'the status has no content')
      try {
        return read(text)
      } catch (cause) {
        if (cause instanceof StarciteError && cause.code === 'events_missing') throw cause
        throw invalidAnswer(call, status, cause)
      }
    }).catch((error) => rethrow(error, call))
  }

  /**
   * A successful response whose body is not read yet. Rejects with StarciteError for any other response. If the server
   * rejects the token, it is renewed once where that is possible.
   */
  async open(call: Call, signal: AbortSignal): Promise<Response> {
    let token = await this.tokens.current()
    for (let isRenewed = false; ; isRenewed = true) {
      const response = await this.#send(call, signal, token)
      if (response.ok) return response
      const { status, headers } = response
      const request = { what: nameOf(call), bytes: utf8Bytes(call.body ?? '') }
      const error = errorFromAnswer(request, status, await response.text(), headers.get('retry-after'))
      if (status !== 401 || error.code === 'network_error' || isRenewed) throw error
      const renewed = await this.tokens.renew(token)
      if (renewed === undefined) throw error
      token = renewed
    }
  }

  /**
   * Follows redirects that keep the method and the body. A token is sent to no other origin. Browsers hide the location,
   * so there no redirect is followed.
   */
  async #send(call: Call, signal: AbortSignal, token: string | undefined): Promise<Response> {
    const followed = isRead(call) ? READ_REDIRECTS : WRITE_REDIRECTS
    let url = this.url(call.path, call.query)
    for (let hops = 0; ; hops += 1) {
      const response = await this.#fetch(url, {
        method: methodOf(call),
        redirect: 'manual',
        signal,
        headers: {
          ...call.headers,
          ...(call.body !== undefined && { 'content-type': call.contentType ?? 'application/json' }),
          ...(token !== undefined && { authorization: `Bearer ${token}` }),
        },
        ...(call.body !== undefined && { body: call.body }),
      })
      // A fetch that ignores `redirect: manual` does not report with which method it followed.
      if (response.redirected && !isRead(call)) throw new Error('the request was redirected')
      const location = response.headers.get('location')
      if (hops >= MAX_REDIRECTS || location === null || !followed.includes(response.status)) return response
      const next = redirection(location, url, token !== undefined)
      if (next === undefined) return response
      await response.body?.cancel()
      url = next
    }
  }
}

/** The URL of a redirect; undefined when it must not be followed. */
function redirection(location: string, from: string, hasToken: boolean): string | undefined {
  try {
    const to = new URL(location, from)
    if (hasToken && to.origin !== new URL(from).origin) return undefined
    return /^https?:$/.test(to.protocol) ? to.href : undefined
  } catch {
    return undefined
  }
}

/** Throws the error of a call. For a call that is not idempotent it says when the outcome is unknown. */
function rethrow(error: unknown, call: Call): never {
  const { signal, retry } = call
  if (signal?.aborted) throw signal.reason
  const known = error instanceof StarciteError ? error : networkError(error, nameOf(call))
  if (retry || isRead(call) || !['network_error', 'invalid_answer'].includes(known.code)) throw known
  throw new StarciteError(known.code, `${known.message}; the server may have processed the request`, {
    cause: known,
    status: known.status,
    details: { ...known.details, outcome_unknown: true },
    retryable: known.code === 'network_error',
    retryAfterMs: known.retryAfterMs,
  })
}

function invalidAnswer(call: Call, status: number, cause: unknown): StarciteError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  const message = `${nameOf(call)} was answered ${status} with an unexpected body: ${reason}`
  return new StarciteError('invalid_answer', message, { cause, status, retryable: true })
}

/** Runs with a signal that is aborted after `ms`, or when the caller's signal is. */
export async function withTimeout<T>(
  ms: number,
  outer: AbortSignal | undefined,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  if (outer?.aborted) throw outer.reason
  const inner = new AbortController()
  const abort = () => inner.abort(outer?.reason)
  const timer = setTimeout(() => inner.abort(new Error(`no answer within ${ms / 1000} s`)), ms)
  outer?.addEventListener('abort', abort, { once: true })
  try {
    return await run(inner.signal)
  } finally {
    clearTimeout(timer)
    outer?.removeEventListener('abort', abort)
  }
}
