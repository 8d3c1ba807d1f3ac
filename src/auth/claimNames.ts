import type { JWTPayload } from 'jose'
import { SCOPES } from './principal.ts'

/** Where an issuer's tokens say what: each a claim's name, or a JSON pointer (RFC 6901) into a claim, such as `/o/id`. */
export interface ClaimNames {
  readonly tenant: string
  readonly actor: string
  /** The one session that a token is for; undefined: no token of this issuer is for one. */
  readonly session: string | undefined
  /** Read all, and added up. */
  readonly scopes: readonly string[]
  /** What must have the audience: `aud`, or what says the client where there is no `aud`. */
  readonly audience: string
  /** A claim and the value that it has in tokens of services; undefined: the form of the actor says it alone. */
  readonly service: readonly [claim: string, value: string] | undefined
}

const DEFAULT: ClaimNames = {
  tenant: 'tenant_id',
  actor: 'sub',
  session: 'session_id',
  scopes: ['scope', 'scopes', 'scp'],
  audience: 'aud',
  service: undefined,
}

/** What common issuers put where, as their documentation says it; docs/security.md has an example of each. */
export const PRESETS = {
  none: DEFAULT,
  auth0: {
    ...DEFAULT,
    tenant: 'org_id',
    scopes: ['permissions'],
    session: undefined,
    service: ['gty', 'client-credentials'],
  },
  clerk: { ...DEFAULT, tenant: '/o/id', audience: 'azp', session: undefined },
  cognito: { ...DEFAULT, scopes: ['scope'], audience: 'client_id', session: undefined },
  entra: {
    ...DEFAULT,
    tenant: 'tid',
    actor: 'oid',
    scopes: ['scp', 'roles'],
    session: undefined,
    service: ['idtyp', 'app'],
  },
  okta: { ...DEFAULT, scopes: ['scp'], session: undefined },
  supabase: { ...DEFAULT, session: undefined },
} as const satisfies Readonly<Record<string, ClaimNames>>

export type Preset = keyof typeof PRESETS

/** The preset, with what is set by itself in place of its own. */
export function claimNames(
  preset: Preset,
  own: { readonly [Name in keyof ClaimNames]?: ClaimNames[Name] | undefined },
): ClaimNames {
  const set = Object.entries(own).filter(([, value]) => value !== undefined)
  const names: ClaimNames = { ...PRESETS[preset], ...Object.fromEntries(set) }
  return names.session === 'none' ? { ...names, session: undefined } : names
}

/**
 * By these, too, a token states what it may do, whether or not they are read: the default scopes are not for it. So it does by
 * one in a namespace (`https://acme.example/permissions`), by Keycloak's, and by any claim that names a scope of ours.
 */
const STATEMENT_OF_SCOPES =
  /(?:^|[/:.])(?:scopes?|scp|permissions|roles|authorities)$|^(?:realm|resource)_access$/i

/** Undefined when the token does not have the claim. */
export function readClaim(claims: JWTPayload, name: string): unknown {
  if (!name.startsWith('/')) return Object.hasOwn(claims, name) ? claims[name] : undefined
  let value: unknown = claims
  for (const step of name.slice(1).split('/')) {
    const key = step.replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
    value = (value as Record<string, unknown>)[key]
  }
  return value
}

/** Whether the token says in any known way what it may do. */
export function statesScopes(claims: JWTPayload, names: ClaimNames): boolean {
  return (
    names.scopes.some((it) => readClaim(claims, it) !== undefined) ||
    Object.entries(claims).some(([name, value]) => STATEMENT_OF_SCOPES.test(name) || namesScope(value))
  )
}

const namesScope = (value: unknown): boolean => {
  const words = typeof value === 'string' ? value.split(/[\s,]+/) : Array.isArray(value) ? value : []
  return words.some((it) => SCOPES.has(it))
}
