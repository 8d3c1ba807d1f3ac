import { jittered, pause } from '../lib/backoff.ts'
import type { Log } from '../ops/log.ts'
import { AppError } from '../protocol/errors.ts'
import { fetchText } from './fetchText.ts'
import { parseJwks, type TrustedKey } from './jwks.ts'

export interface KeySetOptions {
  readonly url: string
  readonly refreshMs: number
  /** Keys that could not be looked at for this long are believed no more. */
  readonly maxAgeMs: number
  readonly log: Log
  readonly fetchTimeoutMs?: number
  /** Between two fetches on account of a key that is not known. */
  readonly cooldownMs?: number
}

/** Somebody may be waiting for it. */
const FETCH_TIMEOUT_MS = 5000
/** Sets of large issuers are some tens of kilobytes. */
const MAX_SET_BYTES = 1024 * 1024
/** Tokens with made-up keys cost the key server a request per this, whatever their number. */
const COOLDOWN_MS = 5000
const RETRY_BASE_MS = 1000
const RETRY_MAX_MS = 30_000
const RETRY_AFTER_MS = 1000

/**
 * The issuer's public keys, as of the last time that they could be had. Fetched in the background, and, at once, when a
 * token names a key that is not known; everyone who waits shares that fetch. While the key server is away or answers
 * rubbish, the keys known stay, until `maxAgeMs`.
 */
export class KeySet {
  readonly #options: KeySetOptions
  readonly #stopping = new AbortController()
  #keys: ReadonlyMap<string, readonly TrustedKey[]> = new Map()
  /** By performance.now(). */
  #fetchedAt = Number.NEGATIVE_INFINITY
  #triedAt = Number.NEGATIVE_INFINITY
  #lastTryFailed = true
  #fetching: Promise<void> | undefined
  #running: Promise<void> | undefined

  constructor(options: KeySetOptions) {
    this.#options = options
  }

  /** Does not wait for the key server: a node may start while that is away. */
  start(): void {
    this.#running ??= this.#run()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await Promise.all([this.#running, this.#fetching])
  }

  get size(): number {
    return this.#keys.size
  }

  /** Seconds since the set was last fetched; infinite before the first time. */
  get ageSeconds(): number {
    return (performance.now() - this.#fetchedAt) / 1000
  }

  /** Whether what this key has signed is still believed. */
  isTrusted(key: TrustedKey): boolean {
    return !key.withdrawn.signal.aborted && this.#isFresh
  }

  /**
   * The key of that name, for that algorithm. Undefined: the issuer has no such key. Rejects with `auth_unavailable`
   * when that cannot be known now.
   */
  async find(kid: string, algorithm: string): Promise<TrustedKey | undefined> {
    if (!this.#isFresh || !this.#keys.has(kid)) await this.#fetchSoon()
    if (this.#isFresh) {
      const named = this.#keys.get(kid)
      if (named !== undefined) return named.find((it) => it.algorithms.has(algorithm))
      if (!this.#lastTryFailed) return undefined
    }
    throw new AppError('auth_unavailable', 'the keys that tokens are checked with cannot be had now', {
      retry_after_ms: RETRY_AFTER_MS,
    })
  }

  get #isFresh(): boolean {
    return performance.now() - this.#fetchedAt < this.#options.maxAgeMs
  }

  async #run(): Promise<void> {
    const { refreshMs } = this.#options
    const { signal } = this.#stopping
    for (let failures = 0; !signal.aborted; ) {
      await this.#fetch()
      failures = this.#lastTryFailed ? failures + 1 : 0
      const retryMs = RETRY_BASE_MS / 2 + jittered(failures, RETRY_BASE_MS, RETRY_MAX_MS)
      await pause(failures === 0 ? refreshMs : Math.min(refreshMs, retryMs), signal)
    }
  }

  /** The fetch under way, or a new one unless the last is too recent. */
  async #fetchSoon(): Promise<void> {
    const { cooldownMs = COOLDOWN_MS } = this.#options
    if (this.#fetching !== undefined || performance.now() - this.#triedAt >= cooldownMs) await this.#fetch()
  }

  #fetch(): Promise<void> {
    this.#fetching ??= this.#fetchNow().finally(() => {
      this.#fetching = undefined
    })
    return this.#fetching
  }

  async #fetchNow(): Promise<void> {
    const { url, log, fetchTimeoutMs = FETCH_TIMEOUT_MS } = this.#options
    const { signal } = this.#stopping
    const unusable: string[] = []
    this.#triedAt = performance.now()
    try {
      const text = await fetchText(url, { timeoutMs: fetchTimeoutMs, maxBytes: MAX_SET_BYTES }, signal)
      const keys = parseJwks(text, (kid, why) => unusable.push(`${JSON.stringify(kid)}: ${why}`))
      this.#replace(keys, unusable)
      this.#fetchedAt = performance.now()
      this.#lastTryFailed = false
    } catch (error) {
      this.#lastTryFailed = true
      if (!signal.aborted)
        log.warn(
          { err: error, host: new URL(url).host, unusable },
          'the keys of the issuer cannot be fetched',
        )
    }
  }

  /** A key that is still there stays the same object: what it has signed need not be verified again. */
  #replace(fetched: readonly TrustedKey[], unusable: readonly string[]): void {
    const before = new Map([...this.#keys.values()].flat().map((key) => [key.fingerprint, key]))
    // By fingerprint: a key that stands in the set twice is one.
    const now = new Map(fetched.map((key) => [key.fingerprint, before.get(key.fingerprint) ?? key]))
    const keys = new Map<string, TrustedKey[]>()
    for (const key of now.values()) keys.set(key.kid, [...(keys.get(key.kid) ?? []), key])
    this.#keys = keys
    const gone = [...before.values()].filter((key) => !now.has(key.fingerprint))
    for (const key of gone) key.withdrawn.abort()
    if (gone.length > 0 || now.size > before.size)
      this.#options.log.info({ kids: [...keys.keys()], unusable }, 'the keys of the issuer have changed')
  }
}
