import type { JWTPayload } from 'jose'
import { unstorableString } from '../lib/jsonText.ts'
import { AppError } from '../protocol/errors.ts'
import { type ClaimNames, readClaim, statesScopes } from './claimNames.ts'
import { type Principal, SCOPES, type Scope } from './principal.ts'

export interface ClaimsOptions {
  readonly names: ClaimNames
  /** What names of the issuer's own mean here. */
  readonly scopeMap: ReadonlyMap<string, ReadonlySet<Scope>>
  /** Of tokens that name no tenant; undefined: they are refused. */
  readonly defaultTenant: string | undefined
  /** Of tokens that state no scopes in any known way; undefined: they are refused. */
  readonly defaultScopes: ReadonlySet<Scope> | undefined
  readonly leewaySeconds: number
}

/** As of the names of events: a token's actor is theirs. */
const MAX_ACTOR_CHARACTERS = 512
/** As of session ids: tenants are in the same indexes, and in the keys of objects. */
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
 * What the claims of a token, whose signature, issuer, audience and times are good, let its bearer do. A claim that is
 * there and not what it should be is refused, never taken for absent: a lock that cannot be read must not open.
 * Throws `unauthorized`.
 */
export function toPrincipal(claims: JWTPayload, options: ClaimsOptions, withdrawn: AbortSignal): Principal {
  const { names } = options
  const { exp } = claims
  const actor = readClaim(claims, names.actor)
  if (typeof exp !== 'number' || !Number.isFinite(exp)) throw refused('exp must be a number of seconds')
  if (
    typeof actor !== 'string' ||
    actor === '' ||
    actor.length > MAX_ACTOR_CHARACTERS ||
    unstorableString(actor)
  )
    throw refused(`${names.actor} must be a string of 1 to ${MAX_ACTOR_CHARACTERS} characters`)
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
  if (fallback === undefined) throw refused(`the token has no ${name}`)
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
    throw refused(`${name} must be a string of 1 to ${MAX_ID_BYTES} bytes without control characters`)
  return value
}

function scopesOf(claims: JWTPayload, options: ClaimsOptions): ReadonlySet<Scope> {
  const { names, scopeMap, defaultScopes } = options
  if (!statesScopes(claims, names)) {
    if (defaultScopes === undefined) throw refused(`the token has none of ${names.scopes.join(', ')}`)
    return defaultScopes
  }
  const named = names.scopes.flatMap((name) => namesIn(readClaim(claims, name), name))
  const granted = new Set(named.flatMap((it) => [...(scopeMap.get(it) ?? [])]))
  return new Set([...SCOPES].filter((it) => named.includes(it) || granted.has(it)))
}

/** One string with spaces between (RFC 8693), or an array: issuers do not agree, except on the two that are our own. */
function namesIn(value: unknown, name: string): readonly string[] {
  if (value === undefined) return []
  if (typeof value === 'string' && name !== 'scopes') return value.split(' ')
  if (Array.isArray(value) && value.every((it) => typeof it === 'string') && name !== 'scope') return value
  throw refused(
    name === 'scope'
      ? 'scope must be a string of names with spaces between'
      : name === 'scopes'
        ? 'scopes must be an array of names'
        : `${name} must be an array of names, or a string of names with spaces between`,
  )
}

const refused = (why: string) => new AppError('unauthorized', `the token cannot be used here: ${why}`)
