/** Claims that differ between tokens of one principal with the same rights. */
const PER_TOKEN_CLAIMS = new Set(['exp', 'iat', 'nbf', 'jti'])

type Claims = Readonly<Record<string, unknown>>

/**
 * The principal and rights of a token: all claims except its times and its id. A token that cannot be parsed is its own key.
 * The server checks tokens; this key only keeps connections of different rights apart.
 */
export function sharingKeyOf(token: string | undefined): string {
  const claims = claimsOf(token)
  if (claims === undefined) return JSON.stringify(['token', token ?? null])
  const kept = Object.entries(claims).filter(([name]) => !PER_TOKEN_CLAIMS.has(name))
  return JSON.stringify(['claims', kept.sort(([a], [b]) => (a < b ? -1 : 1))])
}

/** When the token expires, in milliseconds since 1970; undefined without `exp`. */
export function expiryOf(token: string | undefined): number | undefined {
  const exp = claimsOf(token)?.exp
  return typeof exp === 'number' ? 1000 * exp : undefined
}

function claimsOf(token: string | undefined): Claims | undefined {
  try {
    const [, payload = ''] = (token ?? '').split('.')
    const bytes = Uint8Array.from(atob(payload.replaceAll('-', '+').replaceAll('_', '/')), (it) =>
      it.charCodeAt(0),
    )
    const claims: unknown = JSON.parse(new TextDecoder().decode(bytes))
    return typeof claims === 'object' && claims !== null && !Array.isArray(claims)
      ? (claims as Claims)
      : undefined
  } catch {
    return undefined
  }
}
