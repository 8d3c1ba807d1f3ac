import { jittered } from '../lib/backoff.ts'
import { Loop } from '../lib/loop.ts'
import type { Log } from '../ops/log.ts'
import { AppError } from '../protocol/errors.ts'
import { fetchText } from './fetchText.ts'
import { parseJwks, type TrustedKey } from './jwks.ts'

export interface KeySetOptions {
  readonly url: string
  readonly refreshMs: number
  /** Keys that could not be fetched again for this long are no longer trusted. */
  readonly maxAgeMs: number
  readonly log: Log
  readonly fetchTimeoutMs?: number
  /** Time between two fetches for unknown keys. */
  readonly cooldownMs?: number
}

/** Requests may be waiting for the fetch. */
const FETCH_TIMEOUT_MS = 5000
/** JWK Sets of large issuers have some tens of kilobytes. */
const MAX_SET_BYTES = 1024 * 1024
/** Tokens with made-up key ids cost the key server one request in this time, after a burst. */
const COOLDOWN_MS = 5000
const BURST = 10
const RETRY_BASE_MS = 1000
const RETRY_MAX_MS = 30_000
const RETRY_AFTER_MS = 1000
/** Number of unknown key ids in memory. A token with a further one gets 503. */
const MAX_UNKNOWN = 1000

/**
 * The issuer's public keys, as of the last successful fetch. A fetch runs in the background, and at once when a token names an
 * unknown key; all requests that wait share it. While the key server is away or answers without usable keys, the known keys
 * stay trusted, until `maxAgeMs`.
 */
export class KeySet {
  readonly #options: KeySetOptions
  readonly #loop: Loop
  #keys: ReadonlyMap<string, readonly TrustedKey[]> = new Map()
  /** Time of performance.now(). */
  #fetchedAt = Number.NEGATIVE_INFINITY
  #lastTryFailed = true
  /** Unknown keys that tokens have named since the last fetch began. The next set may have them. */
  #asked = new Set<string>()
  /** Keys that were asked for, or known, before a fetch whose set does not have them, with the time of that fetch. */
  readonly #absent = new Map<string, number>()
  /** Number of fetches for unknown keys that may begin now; it grows by one per cool-down. */
  #allowance = BURST
  #allowanceAt = performance.now()
  #fetching: Promise<void> | undefined
  #failures = 0

  constructor(options: KeySetOptions) {
    this.#options = options
    this.#loop = new Loop({
      pass: () => this.#refresh(),
      intervalMs: options.refreshMs,
      firstInMs: 0,
      onFailure: (error) => options.log.error({ err: error }, 'issuer keys: refresh failed'),
    })
  }

  /** Does not wait for the key server: a node can start while the server is away. */
  start(): void {
    this.#loop.start()
  }

  async stop(): Promise<void> {
    await Promise.all([this.#loop.stop(), this.#fetching])
  }

  get size(): number {
    return this.#keys.size
  }

  /** Seconds since the last successful fetch; infinite before the first one. */
  get ageSeconds(): number {
    return (performance.now() - this.#fetchedAt) / 1000
  }

  /** Whether tokens that this key has signed are still trusted. */
  isTrusted(key: TrustedKey): boolean {
    return !key.withdrawn.signal.aborted && this.#isFresh
  }

  /**
   * The key with this id, for this algorithm; undefined when the issuer has no such key. Rejects with `auth_unavailable` when
   * the node cannot know: the set cannot be fetched, or was fetched just before a token first named this key, which may be
   * newer than the set.
   */
  async find(kid: string, algorithm: string): Promise<TrustedKey | undefined> {
    if (this.#isFresh && !this.#keys.has(kid) && this.#isAbsent(kid)) return undefined
    if (!this.#isFresh || !this.#keys.has(kid)) {
      if (this.#asked.size < MAX_UNKNOWN) this.#asked.add(kid)
      await this.#fetchSoon()
    }
    if (this.#isFresh) {
      const named = this.#keys.get(kid)
      if (named !== undefined) return named.find((key) => key.algorithms.has(algorithm))
      if (this.#isAbsent(kid)) return undefined
    }
    throw new AppError('auth_unavailable', "the issuer's keys are not available now; retry", {
      retry_after_ms: this.#lastTryFailed ? RETRY_AFTER_MS : this.#cooldownMs,
    })
  }

  /** Whether a set that was fetched recently, after the key was requested, does not have the key. */
  #isAbsent(kid: string): boolean {
    const since = this.#absent.get(kid)
    return !this.#lastTryFailed && since !== undefined && performance.now() - since < this.#cooldownMs
  }

  get #cooldownMs(): number {
    return this.#options.cooldownMs ?? COOLDOWN_MS
  }

  get #isFresh(): boolean {
    return performance.now() - this.#fetchedAt < this.#options.maxAgeMs
  }

  /** Resolves with the milliseconds until the next refresh. */
  async #refresh(): Promise<number> {
    const { refreshMs } = this.#options
    await this.#fetch()
    if (!this.#lastTryFailed) {
      this.#failures = 0
      return refreshMs
    }
    this.#failures += 1
    return Math.min(refreshMs, RETRY_BASE_MS / 2 + jittered(this.#failures, RETRY_BASE_MS, RETRY_MAX_MS))
  }

  /** Joins the running fetch, or begins one while the allowance lasts. */
  async #fetchSoon(): Promise<void> {
    const now = performance.now()
    this.#allowance = Math.min(BURST, this.#allowance + (now - this.#allowanceAt) / this.#cooldownMs)
    this.#allowanceAt = now
    if (this.#fetching === undefined) {
      if (this.#allowance < 1) return
      this.#allowance -= 1
    }
    await this.#fetch()
  }

  #fetch(): Promise<void> {
    this.#fetching ??= this.#fetchNow().finally(() => {
      this.#fetching = undefined
    })
    return this.#fetching
  }

  async #fetchNow(): Promise<void> {
    const { url, log, fetchTimeoutMs = FETCH_TIMEOUT_MS } = this.#options
    const { signal } = this.#loop
    const unusable: string[] = []
    const asked = this.#asked
    this.#asked = new Set()
    try {
      const text = await fetchText(url, { timeoutMs: fetchTimeoutMs, maxBytes: MAX_SET_BYTES }, signal)
      const known = [...this.#keys.keys()]
      const keys = parseJwks(text, (kid, why) => {
        unusable.push(`${JSON.stringify(kid)}: ${why}`)
        if (typeof kid === 'string') known.push(kid)
      })
      this.#replace(keys, unusable)
      this.#fetchedAt = performance.now()
      if (this.#absent.size > MAX_UNKNOWN) this.#absent.clear()
      for (const kid of [...asked, ...known]) if (!this.#keys.has(kid)) this.#absent.set(kid, this.#fetchedAt)
      this.#lastTryFailed = false
    } catch (error) {
      for (const kid of asked) this.#asked.add(kid)
      this.#lastTryFailed = true
      if (!signal.aborted)
        log.warn(
          { err: error, host: new URL(url).host, unusable },
          'issuer keys: fetch failed; known keys stay trusted until STARCITE_AUTH_JWKS_MAX_AGE',
        )
    }
  }

  /** Replaces the keys. A key that is in both sets stays the same object, so that its cached tokens stay valid. */
  #replace(fetched: readonly TrustedKey[], unusable: readonly string[]): void {
    const before = new Map([...this.#keys.values()].flat().map((key) => [key.fingerprint, key]))
    // By fingerprint: a key that is in the set twice counts once.
    const now = new Map(fetched.map((key) => [key.fingerprint, before.get(key.fingerprint) ?? key]))
    const keys = new Map<string, TrustedKey[]>()
    for (const key of now.values()) keys.set(key.kid, [...(keys.get(key.kid) ?? []), key])
    this.#keys = keys
    const gone = [...before.values()].filter((key) => !now.has(key.fingerprint))
    for (const key of gone) key.withdrawn.abort()
    if (gone.length > 0 || now.size > before.size)
      this.#options.log.info({ kids: [...keys.keys()], unusable }, 'issuer keys: changed')
  }
}
