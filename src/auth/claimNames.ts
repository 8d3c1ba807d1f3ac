import type { JWTPayload } from 'jose'
import { SCOPES } from './principal.ts'

/** The claims in which an issuer states each thing: a claim's name, or a JSON pointer (RFC 6901) such as `/o/id`. */
export interface ClaimNames {
  readonly tenant: string
  readonly actor: string
  /** The session that a token is restricted to; undefined: this issuer restricts no token. */
  readonly session: string | undefined
  /** Every one is read; a token has the scopes of all together. */
  readonly scopes: readonly string[]
  /** The claim that must have the audience: `aud`, or the claim with the client of issuers without `aud`. */
  readonly audience: string
  /** A claim and the value that it has in tokens of services; undefined: only the form of the actor tells. */
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

/** The claims of common issuers, by their documentation. docs/security.md has an example of each. */
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

/** A preset, with the names that settings replace. */
export function claimNames(
  preset: Preset,
  own: { readonly [Name in keyof ClaimNames]?: ClaimNames[Name] | undefined },
): ClaimNames {
  const set = Object.entries(own).filter(([, value]) => value !== undefined)
  const names: ClaimNames = { ...PRESETS[preset], ...Object.fromEntries(set) }
  return names.session === 'none' ? { ...names, session: undefined } : names
}

/**
 * Claims that state scopes, whether or not this node reads them: a token that has one does not get the default scopes. A claim
 * in a namespace (`https://acme.example/permissions`) and those of Keycloak count too.
 */
const STATEMENT_OF_SCOPES =
  /(?:^|[/:.])(?:scopes?|scp|permissions|roles|authorities)$|^(?:realm|resource)_access$/i

/** The value of a claim; undefined when the token does not have it. */
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

/** Whether the token states scopes in any known way, or has a claim with the name of a scope as its value. */
export function statesScopes(claims: JWTPayload, names: ClaimNames): boolean {
  return (
    names.scopes.some((claim) => readClaim(claims, claim) !== undefined) ||
    Object.entries(claims).some(([name, value]) => STATEMENT_OF_SCOPES.test(name) || namesScope(value))
  )
}

const namesScope = (value: unknown): boolean => {
  const words = typeof value === 'string' ? value.split(/[\s,]+/) : Array.isArray(value) ? value : []
  return words.some((word) => SCOPES.has(word))
}
