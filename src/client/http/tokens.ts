import { StarciteError } from '../errors.ts'

/** A token, or a function that fetches one: called first, and again when the server rejects the token or it expires. */
export type TokenSource = string | (() => string | Promise<string>)

/** Caches the token of a client. Callers whose token is rejected at the same time share one renewal. */
export class Tokens {
  readonly #source: TokenSource | undefined
  #value: string | undefined
  #fetching: Promise<string> | undefined

  constructor(source: TokenSource | undefined) {
    this.#source = source
    if (typeof source === 'string') this.#value = source
  }

  /** The token; undefined when the client has none. */
  async current(): Promise<string | undefined> {
    return this.#value ?? (typeof this.#source === 'function' ? await this.#fetch(this.#source) : undefined)
  }

  /** A token other than `refused`; undefined when the client has no function that fetches one. */
  async renew(refused: string | undefined): Promise<string | undefined> {
    if (typeof this.#source !== 'function') return undefined
    if (this.#value !== undefined && this.#value !== refused) return this.#value
    return this.#fetch(this.#source)
  }

  #fetch(source: () => string | Promise<string>): Promise<string> {
    this.#fetching ??= this.#call(source).finally(() => {
      this.#fetching = undefined
    })
    return this.#fetching
  }

  async #call(source: () => string | Promise<string>): Promise<string> {
    try {
      this.#value = await source()
      return this.#value
    } catch (cause) {
      if (cause instanceof StarciteError) throw cause
      throw new StarciteError('token_unavailable', 'the token function failed', { cause, retryable: true })
    }
  }
}
