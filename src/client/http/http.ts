import { Attention, Backoff } from '../attention.ts'
import { errorOfAnswer, networkError, StarciteError } from '../errors.ts'
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
  /** Whether the call may be sent again when it is not known what became of it. */
  readonly retry?: boolean
}

/** An answer has this long; a link that fell silent looks like a slow server. */
const TIMEOUT_MS = 15_000
const MAX_ATTEMPTS = 4
const RETRY_BASE_MS = 200
const RETRY_MAX_MS = 3000

/** Requests of one client: where to, with which token, and how failures are told. Rejects with StarciteError. */
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

  async json<T>(call: Call): Promise<T> {
    const text = await this.text(call)
    try {
      return JSON.parse(text) as T
    } catch (cause) {
      // The page of some network's sign-in, as a rule: it passes.
      const facts = { cause, retryable: true }
      throw new StarciteError('invalid_answer', `${call.path} was not answered in JSON`, facts)
    }
  }

  /** The text of the answer. The caller's abort rejects with the reason it gave. */
  async text(call: Call): Promise<string> {
    if (!call.retry) return this.#textOnce(call)
    const attention = new Attention(call.signal ?? new AbortController().signal)
    const backoff = new Backoff(RETRY_BASE_MS, RETRY_MAX_MS)
    try {
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await this.#textOnce(call)
        } catch (error) {
          if (attempt === MAX_ATTEMPTS || !(error instanceof StarciteError) || !error.retryable) throw error
          await attention.wait(backoff.next(error.retryAfterMs))
        }
      }
    } finally {
      attention.stop()
    }
  }

  async #textOnce(call: Call): Promise<string> {
    return within(TIMEOUT_MS, call.signal, async (signal) => {
      const response = await this.open(call, signal)
      return response.text()
    }).catch((error) => rethrow(error, call))
  }

  /**
   * An answer whose body is still to come. A refused token is renewed once, if it can be. Rejects with StarciteError for
   * anything but a success.
   */
  async open(call: Call, signal: AbortSignal): Promise<Response> {
    const token = await this.tokens.current()
    let response = await this.#send(call, signal, token)
    if (response.status === 401) {
      const renewed = await this.tokens.renew(token)
      if (renewed !== undefined) {
        await response.body?.cancel()
        response = await this.#send(call, signal, renewed)
      }
    }
    if (response.ok) return response
    throw errorOfAnswer(response.status, await response.text(), response.headers.get('retry-after'))
  }

  #send(call: Call, signal: AbortSignal, token: string | undefined): Promise<Response> {
    return this.#fetch(this.url(call.path, call.query), {
      method: call.method ?? 'GET',
      signal,
      headers: {
        ...call.headers,
        ...(call.body !== undefined && { 'content-type': call.contentType ?? 'application/json' }),
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
      ...(call.body !== undefined && { body: call.body }),
    })
  }
}

function rethrow(error: unknown, { signal, method = 'GET', path }: Call): never {
  if (signal?.aborted) throw signal.reason
  throw error instanceof StarciteError ? error : networkError(error, `${method} ${path}`)
}

/** Runs with a signal that is aborted past the time, and with the caller's. */
export async function within<T>(
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
