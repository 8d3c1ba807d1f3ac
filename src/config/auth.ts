import type { EnvReader } from '../lib/env.ts'

const AUTH_PRESETS = ['none', 'auth0', 'clerk', 'cognito', 'entra', 'okta', 'supabase'] as const
const SCOPE_NAMES = ['session:create', 'session:read', 'session:append', 'session:erase'] as const
/** STARCITE_AUTH_SCOPE_MAP can grant session:act_as too; STARCITE_AUTH_DEFAULT_SCOPES cannot. */
const MAPPED_SCOPES = [...SCOPE_NAMES, 'session:act_as'] as const

/** Authentication. `jwt` is set when the node requires tokens. */
export function readAuth(read: EnvReader) {
  const mode = read.oneOf('STARCITE_AUTH_MODE', ['none', 'jwt'], 'none')
  const jwksUrl = read.httpUrl('STARCITE_AUTH_JWKS_URL')
  const isHttpAllowed = read.flag('STARCITE_AUTH_JWKS_ALLOW_HTTP', false)
  const jwt = {
    jwksUrl: jwksUrl ?? '',
    issuer: read.text('STARCITE_AUTH_JWT_ISSUER', ''),
    audiences: read.list('STARCITE_AUTH_JWT_AUDIENCE') ?? [],
    preset: read.oneOf('STARCITE_AUTH_PRESET', AUTH_PRESETS, 'none'),
    /** Claim names that replace those of the preset. */
    claims: {
      tenant: read.text('STARCITE_AUTH_TENANT_CLAIM', undefined),
      actor: read.text('STARCITE_AUTH_ACTOR_CLAIM', undefined),
      session: read.text('STARCITE_AUTH_SESSION_CLAIM', undefined),
      scopes: read.list('STARCITE_AUTH_SCOPE_CLAIMS'),
      audience: read.text('STARCITE_AUTH_AUDIENCE_CLAIM', undefined),
      service: read.pairs('STARCITE_AUTH_SERVICE_CLAIM')?.[0],
    },
    scopeMap: readScopeMap(read),
    leewaySeconds: read.int('STARCITE_AUTH_JWT_LEEWAY_SECONDS', { default: 30, min: 0, max: 300 }),
    refreshMs: read.int('STARCITE_AUTH_JWKS_REFRESH_MS', { default: 60_000, min: 100, max: 86_400_000 }),
    /** Keys that could not be fetched again for this long are no longer trusted. */
    maxAgeMs: read.duration('STARCITE_AUTH_JWKS_MAX_AGE', { default: '24h', min: '1s', max: '365d' }),
    cachedTokens: read.int('STARCITE_AUTH_TOKEN_CACHE', { default: 20_000, min: 1, max: 10_000_000 }),
    defaultTenant: read.text('STARCITE_AUTH_DEFAULT_TENANT', undefined),
    defaultScopes: read.namesOf('STARCITE_AUTH_DEFAULT_SCOPES', SCOPE_NAMES),
  }
  const own = ['STARCITE_AUTH_JWKS_URL', 'STARCITE_AUTH_JWT_ISSUER', 'STARCITE_AUTH_JWT_AUDIENCE']
  const isSet = (name: string) => read.raw(name) !== undefined
  if (mode === 'none') {
    // An operator who has set the key server expects tokens to be required.
    if (!isSet('STARCITE_AUTH_MODE'))
      for (const name of own.filter(isSet))
        read.problems.push(`STARCITE_AUTH_MODE must be set, to jwt or to none, when ${name} is`)
    return { mode, jwt: undefined }
  }
  for (const name of own.filter((name) => !isSet(name)))
    read.problems.push(`${name} must be set when STARCITE_AUTH_MODE is jwt`)
  if (jwksUrl !== undefined && !isHttpAllowed && !isPrivate(new URL(jwksUrl)))
    read.problems.push(
      'STARCITE_AUTH_JWKS_URL must be an https:// URL: over http:// an attacker in the network can replace the keys; ' +
        'set STARCITE_AUTH_JWKS_ALLOW_HTTP=true to allow it on a network that you trust',
    )
  if (jwt.maxAgeMs < jwt.refreshMs)
    read.problems.push('STARCITE_AUTH_JWKS_MAX_AGE must be at least STARCITE_AUTH_JWKS_REFRESH_MS')
  return { mode, jwt }
}

/** Maps the scopes of the issuer to those of Starcite. */
function readScopeMap(read: EnvReader): ReadonlyMap<string, ReadonlySet<(typeof MAPPED_SCOPES)[number]>> {
  const map = new Map<string, Set<(typeof MAPPED_SCOPES)[number]>>()
  for (const [theirs, ours] of read.pairs('STARCITE_AUTH_SCOPE_MAP') ?? []) {
    const scope = MAPPED_SCOPES.find((name) => name === ours)
    if (scope === undefined)
      read.problems.push(
        `STARCITE_AUTH_SCOPE_MAP must map names to some of ${MAPPED_SCOPES.join(', ')}; ${JSON.stringify(theirs)} is mapped to ${JSON.stringify(ours)}`,
      )
    else map.set(theirs, (map.get(theirs) ?? new Set()).add(scope))
  }
  return map
}

/** Whether an attacker in the network cannot change an answer: it is encrypted, or does not leave this machine. */
function isPrivate({ protocol, hostname }: URL): boolean {
  return protocol === 'https:' || /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname)
}
