import type { JWTPayload } from 'jose'
import { unstorableString } from '../lib/jsonText.ts'
import { AppError } from '../protocol/errors.ts'
import { type Principal, SCOPES, type Scope } from './principal.ts'

export interface ClaimsOptions {
  /** Of tokens without `tenant_id`; undefined: they are refused. */
  readonly defaultTenant: string | undefined
  /** Of tokens without `scope` and `scopes`; undefined: they are refused. */
  readonly defaultScopes: ReadonlySet<Scope> | undefined
  readonly leewaySeconds: number
}

/** As of the names of events: a token's `sub` is their actor. */
const MAX_SUBJECT_CHARACTERS = 512
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
  const { exp, sub } = claims
  if (typeof exp !== 'number' || !Number.isFinite(exp)) throw refused('exp must be a number of seconds')
  if (typeof sub !== 'string' || sub === '' || sub.length > MAX_SUBJECT_CHARACTERS || unstorableString(sub))
    throw refused(`sub must be a string of 1 to ${MAX_SUBJECT_CHARACTERS} characters`)
  return Object.freeze({
    tenantId: id(claims.tenant_id ?? absent(claims, 'tenant_id', options.defaultTenant), 'tenant_id'),
    actor: sub,
    kind: kindOf(sub),
    scopes: scopesOf(claims, options.defaultScopes),
    sessionId: Object.hasOwn(claims, 'session_id') ? id(claims.session_id, 'session_id') : null,
    expiresAtMs: (exp + options.leewaySeconds) * 1000,
    withdrawn,
  })
}

function kindOf(sub: string): Principal['kind'] {
  const colon = sub.indexOf(':')
  return (colon > 0 && Object.hasOwn(KINDS, sub.slice(0, colon)) && KINDS[sub.slice(0, colon)]) || 'user'
}

function absent<T>(claims: JWTPayload, name: string, fallback: T | undefined): T | undefined {
  if (Object.hasOwn(claims, name)) return undefined
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

function scopesOf(claims: JWTPayload, fallback: ReadonlySet<Scope> | undefined): ReadonlySet<Scope> {
  const { scope, scopes } = claims
  if (!Object.hasOwn(claims, 'scope') && !Object.hasOwn(claims, 'scopes')) {
    if (fallback === undefined) throw refused('the token has neither scope nor scopes')
    return fallback
  }
  if (scope !== undefined && typeof scope !== 'string')
    throw refused('scope must be a string of names with spaces between')
  if (scopes !== undefined && !(Array.isArray(scopes) && scopes.every((it) => typeof it === 'string')))
    throw refused('scopes must be an array of names')
  const named = [...(scope ?? '').split(' '), ...((scopes as string[] | undefined) ?? [])]
  return new Set([...SCOPES].filter((it) => named.includes(it)))
}

const refused = (why: string) => new AppError('unauthorized', `the token cannot be used here: ${why}`)
