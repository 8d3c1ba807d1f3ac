import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { setMaxListeners } from 'node:events'

/** Accepted signature algorithms. Never `none`, never a shared secret (HS…): the set publishes public keys. */
export const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA'] as const
export type Algorithm = (typeof ALGORITHMS)[number]

/** A public key of the issuer's set, while the set has it. */
export interface TrustedKey {
  readonly kid: string
  /** Algorithms that tokens with this key may be signed with. */
  readonly algorithms: ReadonlySet<string>
  readonly key: KeyObject
  /** Distinguishes the key from another one with the same `kid`. */
  readonly fingerprint: string
  /** Aborted when the key leaves the set. */
  readonly withdrawn: AbortController
}

/** More keys than any issuer rotates through. Keys beyond are ignored. */
const MAX_KEYS = 256
const MAX_KID_CHARACTERS = 512
const MIN_RSA_BITS = 2048

interface Jwk {
  readonly [name: string]: unknown
}

/**
 * Parses the keys of a JWK Set (RFC 7517) that can verify tokens. Keys that are broken, or for another use, are left out, and
 * `onUnusable` gets the reason. Throws when the text is no JWK Set, or has no usable key.
 */
export function parseJwks(text: string, onUnusable: (kid: unknown, why: string) => void): TrustedKey[] {
  const set = JSON.parse(text) as { keys?: unknown } | null
  if (typeof set !== 'object' || !Array.isArray(set?.keys)) throw new Error('the answer is not a JWK Set')
  const keys: TrustedKey[] = []
  for (const jwk of set.keys.slice(0, MAX_KEYS)) {
    try {
      keys.push(toKey(jwk))
    } catch (error) {
      onUnusable((jwk as Jwk | null)?.kid, (error as Error).message)
    }
  }
  if (keys.length === 0) throw new Error('the JWK Set has no usable key')
  return keys
}

function toKey(jwk: Jwk | null): TrustedKey {
  if (typeof jwk !== 'object' || jwk === null) throw new Error('it is not an object')
  const { kid, alg, use, key_ops: operations } = jwk
  if (typeof kid !== 'string' || kid === '' || kid.length > MAX_KID_CHARACTERS)
    throw new Error('it has no kid')
  if (use !== undefined && use !== 'sig') throw new Error(`its use is ${use}`)
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify')))
    throw new Error('its key_ops do not have verify')
  const { members, algorithms } = kindOf(jwk)
  const usable = algorithms.filter((algorithm) => alg === undefined || alg === algorithm)
  if (usable.length === 0) throw new Error(`its alg is ${alg}`)
  // Only the public members: an issuer may have published the private key by mistake.
  const publicJwk = Object.fromEntries(['kty', ...members].map((name) => [name, jwk[name]])) as JsonWebKey
  const key = createPublicKey({ key: publicJwk, format: 'jwk' })
  if ((key.asymmetricKeyDetails?.modulusLength ?? MIN_RSA_BITS) < MIN_RSA_BITS)
    throw new Error(`it has less than ${MIN_RSA_BITS} bits`)
  const withdrawn = new AbortController()
  setMaxListeners(0, withdrawn.signal) // one listener for each tail
  const fingerprint = JSON.stringify([kid, usable, publicJwk])
  return { kid, algorithms: new Set(usable), key, fingerprint, withdrawn }
}

/** The members of a kind of key, and the algorithms that it signs with. */
function kindOf({ kty, crv }: Jwk): { members: readonly string[]; algorithms: readonly Algorithm[] } {
  if (kty === 'RSA') return { members: ['n', 'e'], algorithms: ['RS256', 'PS256'] }
  if (kty === 'EC' && crv === 'P-256') return { members: ['crv', 'x', 'y'], algorithms: ['ES256'] }
  if (kty === 'OKP' && crv === 'Ed25519') return { members: ['crv', 'x'], algorithms: ['EdDSA'] }
  throw new Error(`it is of the kind ${kty}${crv === undefined ? '' : ` ${crv}`}`)
}
