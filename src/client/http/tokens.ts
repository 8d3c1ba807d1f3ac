import { StarciteError } from '../errors.ts'

/** A token, or how to get one: called for the first, and again whenever the server refuses or ends the last. */
export type TokenSource = string | (() => string | Promise<string>)

/** Keeps the token of a client. Callers that are refused at the same time share one renewal. */
export class Tokens {
  readonly #source: TokenSource | undefined
  #value: string | undefined
  #fetching: Promise<string> | undefined

  constructor(source: TokenSource | undefined) {
    this.#source = source
    if (typeof source === 'string') this.#value = source
  }

  /** Undefined when the client has none. */
  async current(): Promise<string | undefined> {
    return this.#value ?? (typeof this.#source === 'function' ? await this.#fetch(this.#source) : undefined)
  }

  /** Another one than `refused`; undefined when there is no way to get one. */
  async renew(refused: string | undefined): Promise<string | undefined> {
    if (typeof this.#source !== 'function') return undefined
    if (this.#value !== undefined && this.#value !== refused) return this.#value
    return this.#fetch(this.#source)
  }

  #fetch(source: () => string | Promise<string>): Promise<string> {
    this.#fetching ??= this.#ask(source).finally(() => {
      this.#fetching = undefined
    })
    return this.#fetching
  }

  async #ask(source: () => string | Promise<string>): Promise<string> {
    try {
      this.#value = await source()
      return this.#value
    } catch (cause) {
      if (cause instanceof StarciteError) throw cause
      throw new StarciteError('token_unavailable', 'the token function failed', { cause, retryable: true })
    }
  }
}
