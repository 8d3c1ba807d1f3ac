import type { JWTPayload } from 'jose'
import { unstorableString } from '../lib/jsonText.ts'
import { AppError } from '../protocol/errors.ts'
import { type ClaimNames, readClaim, statesScopes } from './claimNames.ts'
import { type Principal, SCOPES, type Scope } from './principal.ts'

export interface ClaimsOptions {
  readonly names: ClaimNames
  /** Scopes of the issuer, and those of Starcite that each grants. */
  readonly scopeMap: ReadonlyMap<string, ReadonlySet<Scope>>
  /** The tenant of tokens that name none; undefined: they are rejected. */
  readonly defaultTenant: string | undefined
  /** The scopes of tokens that state none in any known way; undefined: they are rejected. */
  readonly defaultScopes: ReadonlySet<Scope> | undefined
  readonly leewaySeconds: number
}

/** The limit for actors of events: a token's actor is the actor of its events. */
const MAX_ACTOR_CHARACTERS = 512
/** The limit for session ids: tenants are in the same indexes, and in object keys. */
const MAX_ID_BYTES = 256
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/

const KINDS: Readonly<Record<string, Principal['kind']>> = {
  user: 'user',
  agent: 'agent',
  service: 'service',
  svc: 'service',
  org: 'service',
}

/**
 * The principal of a token whose signature, issuer, audience and times are verified. A malformed claim is rejected, never taken
 * for absent: a token whose session cannot be read must not admit every session. Throws `unauthorized`.
 */
export function toPrincipal(claims: JWTPayload, options: ClaimsOptions, withdrawn: AbortSignal): Principal {
  const { names } = options
  const { exp } = claims
  const actor = readClaim(claims, names.actor)
  if (typeof exp !== 'number' || !Number.isFinite(exp)) throw unusable('exp must be a number of seconds')
  if (
    typeof actor !== 'string' ||
    actor === '' ||
    actor.length > MAX_ACTOR_CHARACTERS ||
    unstorableString(actor)
  )
    throw unusable(`${names.actor} must be a string of 1 to ${MAX_ACTOR_CHARACTERS} characters`)
  const tenant = readClaim(claims, names.tenant) ?? absent(claims, names.tenant, options.defaultTenant)
  const session = names.session === undefined ? undefined : readClaim(claims, names.session)
  return Object.freeze({
    tenantId: id(tenant, names.tenant),
    actor,
    kind: isService(claims, names) ? 'service' : kindOf(actor),
    scopes: scopesOf(claims, options),
    sessionId: session === undefined ? null : id(session, names.session as string),
    expiresAtMs: (exp + options.leewaySeconds) * 1000,
    withdrawn,
  })
}

function isService(claims: JWTPayload, { service }: ClaimNames): boolean {
  return service !== undefined && readClaim(claims, service[0]) === service[1]
}

function kindOf(sub: string): Principal['kind'] {
  const colon = sub.indexOf(':')
  return (colon > 0 && Object.hasOwn(KINDS, sub.slice(0, colon)) && KINDS[sub.slice(0, colon)]) || 'user'
}

function absent<T>(claims: JWTPayload, name: string, fallback: T | undefined): T | undefined {
  if (readClaim(claims, name) !== undefined) return undefined
  if (fallback === undefined) throw unusable(`the token has no ${name}`)
  return fallback
}

function id(value: unknown, name: string): string {
  const isId =
    typeof value === 'string' &&
    value !== '' &&
    Buffer.byteLength(value) <= MAX_ID_BYTES &&
    !CONTROL.test(value) &&
    value.isWellFormed()
  if (!isId)
    throw unusable(`${name} must be a string of 1 to ${MAX_ID_BYTES} bytes without control characters`)
  return value
}

function scopesOf(claims: JWTPayload, options: ClaimsOptions): ReadonlySet<Scope> {
  const { names, scopeMap, defaultScopes } = options
  if (!statesScopes(claims, names)) {
    if (defaultScopes === undefined) throw unusable(`the token has none of ${names.scopes.join(', ')}`)
    return defaultScopes
  }
  const named = names.scopes.flatMap((name) => namesIn(readClaim(claims, name), name))
  const granted = new Set(named.flatMap((name) => [...(scopeMap.get(name) ?? [])]))
  return new Set([...SCOPES].filter((scope) => named.includes(scope) || granted.has(scope)))
}

/** The names in a claim: a string, separated by spaces (RFC 8693), or an array. `scope` must be the one, `scopes` the other. */
function namesIn(value: unknown, name: string): readonly string[] {
  if (value === undefined) return []
  if (typeof value === 'string' && name !== 'scopes') return value.split(' ')
  if (Array.isArray(value) && value.every((member) => typeof member === 'string') && name !== 'scope')
    return value
  throw unusable(
    name === 'scope'
      ? 'scope must be a string of names, separated by spaces'
      : name === 'scopes'
        ? 'scopes must be an array of names'
        : `${name} must be an array of names, or a string of names, separated by spaces`,
  )
}

const unusable = (why: string) => new AppError('unauthorized', `the token cannot be used: ${why}`)
