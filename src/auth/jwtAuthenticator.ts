import { createHash } from 'node:crypto'
import { errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose'
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
  /** One of them must be in the claim that `names.audience` says. */
  readonly audiences: readonly string[]
  /** Verified tokens that are remembered. */
  readonly cachedTokens: number
  readonly log: Log
}

/** What fits into the headers of a request. */
const MAX_TOKEN_CHARACTERS = 16 * 1024
/** Header, claims and signature, none of them empty; what is in them is for jose to say. */
const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]+$/

interface Verified {
  readonly principal: Principal
  readonly key: TrustedKey
}

/**
 * STARCITE_AUTH_MODE=jwt: bearer tokens that the issuer signed. Verifying one costs some 0.2 to 0.3 ms, so that it
 * was good is remembered until it ends or its key leaves the set: by its digest, for a token itself is never kept. A
 * token known is answered at once, without a promise. Requests that bring the same new token together share one
 * verification.
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

  /** Begins to fetch the keys; tokens that come before they are there wait, for some seconds at most. */
  start(): void {
    this.#keys.start()
  }

  async stop(): Promise<void> {
    await this.#keys.stop()
  }

  get keys(): KeySet {
    return this.#keys
  }

  /** Throws `unauthorized`, and `auth_unavailable` when the keys that it takes to judge cannot be had. */
  authenticate(token: string | undefined): Principal | Promise<Principal> {
    if (token === undefined)
      throw new AppError('unauthorized', 'a token is needed: Authorization: Bearer …', {
        token_missing: true,
      })
    if (token.length > MAX_TOKEN_CHARACTERS || !COMPACT.test(token))
      throw invalid('it is not a JWT with a signature')
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
    let used: TrustedKey | undefined
    const getKey: JWTVerifyGetKey = async ({ alg, kid, ...header }) => {
      if ('b64' in header) throw invalid('b64 is not for JWTs')
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
      if (names.audience !== 'aud') requireAudience(payload, names.audience, audiences)
      refuseFuture(payload, leewaySeconds)
      const key = used as unknown as TrustedKey
      const principal = toPrincipal(payload, this.#options, key.withdrawn.signal)
      this.#verified.set(digest, { principal, key })
      return principal
    } catch (error) {
      throw toRefusal(error)
    }
  }
}

/** As jose does it for `aud`: one of the values, or of several that are there. */
function requireAudience(claims: JWTPayload, name: string, audiences: readonly string[]): void {
  const value = readClaim(claims, name)
  const said = Array.isArray(value) ? value : [value]
  if (value === undefined) throw invalid(`it has no ${name}`)
  if (!said.some((it) => audiences.includes(it))) throw invalid(`its ${name} is not what it must be`)
}

/** jose looks at `iat` only where tokens have a greatest age. */
function refuseFuture({ iat }: JWTPayload, leewaySeconds: number): void {
  if (iat !== undefined && iat > Date.now() / 1000 + leewaySeconds) throw invalid('its iat is in the future')
}

const invalid = (why: string) => new AppError('unauthorized', `the token is not valid: ${why}`)
const expired = () => new AppError('unauthorized', 'the token has expired', { token_expired: true })

/** In our own words: those of a library might quote the token. */
function toRefusal(error: unknown): unknown {
  if (error instanceof errors.JWTExpired) return expired()
  if (error instanceof errors.JWTClaimValidationFailed)
    return invalid(
      error.reason === 'missing' ? `it has no ${error.claim}` : `its ${error.claim} is not what it must be`,
    )
  if (error instanceof errors.JWSSignatureVerificationFailed) return invalid('its signature is wrong')
  if (error instanceof errors.JOSEAlgNotAllowed)
    return invalid(`it must be signed with one of ${ALGORITHMS.join(', ')}`)
  if (error instanceof errors.JOSEError) return invalid('it cannot be read')
  return error
}
