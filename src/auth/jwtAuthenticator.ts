import { createHash } from 'node:crypto'
import type { errors as JoseErrors, JWTPayload, JWTVerifyGetKey } from 'jose'
import { LRUCache } from 'lru-cache'
import type { Log } from '../ops/log.ts'
import { AppError } from '../protocol/errors.ts'
import type { Authenticator } from './authenticator.ts'
import { readClaim } from './claimNames.ts'
import { type ClaimsOptions, toPrincipal } from './claims.ts'
import { ALGORITHMS, type TrustedKey } from './jwks.ts'
import { KeySet, type KeySetOptions } from './keySet.ts'
import type { Principal } from './principal.ts'

export interface JwtOptions extends ClaimsOptions {
  readonly keys: Omit<KeySetOptions, 'log'>
  readonly issuer: string
  /** The claim that `names.audience` names must have one of them. */
  readonly audiences: readonly string[]
  /** Number of verified tokens in the cache. */
  readonly cachedTokens: number
  readonly log: Log
}

/** The most that fits into the headers of a request. */
const MAX_TOKEN_CHARACTERS = 16 * 1024
/** Header, claims and signature, none of them empty. jose checks their contents. */
const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]+$/

interface Verified {
  readonly principal: Principal
  readonly key: TrustedKey
}

/** Loads jose: 46 modules, which only a node that verifies tokens needs. */
const loadJose = () => import('jose')

/**
 * Verifies bearer tokens that the issuer signed (STARCITE_AUTH_MODE=jwt). A verification takes 0.2 to 0.3 ms, so a cache keeps
 * each verified token until the token ends or its key leaves the set: by its digest, because a node never stores a token. A
 * cached token is answered without a promise. Concurrent requests with the same new token share one verification.
 */
export class JwtAuthenticator implements Authenticator {
  readonly #options: JwtOptions
  readonly #keys: KeySet
  readonly #verified: LRUCache<string, Verified>
  readonly #verifying = new Map<string, Promise<Principal>>()

  constructor(options: JwtOptions) {
    this.#options = options
    this.#keys = new KeySet({ ...options.keys, log: options.log })
    this.#verified = new LRUCache({ max: options.cachedTokens })
  }

  /** Begins to fetch the keys. Tokens that come before the keys are there wait, for some seconds at most. */
  start(): void {
    this.#keys.start()
    void loadJose()
  }

  async stop(): Promise<void> {
    await this.#keys.stop()
  }

  get keys(): KeySet {
    return this.#keys
  }

  /** Throws `unauthorized`, or `auth_unavailable` when the issuer's keys cannot be fetched. */
  authenticate(token: string | undefined): Principal | Promise<Principal> {
    if (token === undefined)
      throw new AppError('unauthorized', 'a token is required: send Authorization: Bearer …', {
        token_missing: true,
      })
    if (token.length > MAX_TOKEN_CHARACTERS || !COMPACT.test(token)) throw invalid('it is not a signed JWT')
    const digest = createHash('sha256').update(token).digest('base64')
    const known = this.#verified.get(digest)
    if (known !== undefined && this.#keys.isTrusted(known.key)) {
      if (Date.now() < (known.principal.expiresAtMs as number)) return known.principal
      this.#verified.delete(digest)
      throw expired()
    }
    let verifying = this.#verifying.get(digest)
    if (verifying === undefined) {
      verifying = this.#verify(token, digest).finally(() => this.#verifying.delete(digest))
      this.#verifying.set(digest, verifying)
    }
    return verifying
  }

  async #verify(token: string, digest: string): Promise<Principal> {
    const { issuer, audiences, names, leewaySeconds } = this.#options
    const { errors, jwtVerify } = await loadJose()
    let used: TrustedKey | undefined
    const getKey: JWTVerifyGetKey = async ({ alg, kid, ...header }) => {
      if ('b64' in header) throw invalid('its header has b64, which JWTs do not allow')
      if (typeof kid !== 'string') throw invalid('its header has no kid')
      used = await this.#keys.find(kid, alg)
      if (used === undefined) throw invalid('its issuer has no such key')
      return used.key
    }
    try {
      const { payload } = await jwtVerify(token, getKey, {
        algorithms: [...ALGORITHMS],
        issuer,
        ...(names.audience === 'aud' && { audience: [...audiences] }),
        clockTolerance: leewaySeconds,
        requiredClaims: ['exp'],
      })
      if (names.audience !== 'aud') assertAudience(payload, names.audience, audiences)
      assertNotInFuture(payload, leewaySeconds)
      const key = used as unknown as TrustedKey
      const principal = toPrincipal(payload, this.#options, key.withdrawn.signal)
      this.#verified.set(digest, { principal, key })
      return principal
    } catch (error) {
      throw toAppError(error, errors)
    }
  }
}

/** Checks a claim as jose checks `aud`: one of its values must be an audience of this node. */
function assertAudience(claims: JWTPayload, name: string, audiences: readonly string[]): void {
  const value = readClaim(claims, name)
  const said = Array.isArray(value) ? value : [value]
  if (value === undefined) throw invalid(`it has no ${name}`)
  if (!said.some((value) => audiences.includes(value)))
    throw invalid(`its ${name} is not an accepted audience`)
}

/** Rejects an `iat` in the future, which jose checks only where tokens have a maximum age. */
function assertNotInFuture({ iat }: JWTPayload, leewaySeconds: number): void {
  if (iat !== undefined && iat > Date.now() / 1000 + leewaySeconds) throw invalid('its iat is in the future')
}

const invalid = (why: string) => new AppError('unauthorized', `the token is not valid: ${why}`)
const expired = () => new AppError('unauthorized', 'the token has expired', { token_expired: true })

/** An error of jose in words of this program: a message of the library might quote the token. */
function toAppError(error: unknown, errors: typeof JoseErrors): unknown {
  if (error instanceof errors.JWTExpired) return expired()
  if (error instanceof errors.JWTClaimValidationFailed)
    return invalid(error.reason === 'missing' ? `it has no ${error.claim}` : `its ${error.claim} is wrong`)
  if (error instanceof errors.JWSSignatureVerificationFailed) return invalid('its signature is wrong')
  if (error instanceof errors.JOSEAlgNotAllowed)
    return invalid(`it must be signed with one of ${ALGORITHMS.join(', ')}`)
  if (error instanceof errors.JOSEError) return invalid('it is malformed')
  return error
}
