const SECRET = /secret|password|token|credential|accesskey|privatekey/i
const HIDDEN = '(set, not shown)'

/**
 * Copies a value for printing, without its secrets: a text under a name such as `password` or `token` is hidden, and a URL
 * keeps only its scheme, host, port and path.
 */
export function maskSecrets(value: object): object {
  return Object.fromEntries(Object.entries(value).map(([key, it]) => [key, maskValue(key, it)]))
}

function maskValue(key: string, value: unknown): unknown {
  if (value instanceof Set) return maskValue(key, [...value])
  if (Array.isArray(value)) return value.map((it) => maskValue(key, it))
  if (SECRET.test(key) && typeof value !== 'number' && typeof value !== 'boolean' && value !== undefined)
    return HIDDEN
  if (typeof value === 'object' && value !== null) return maskSecrets(value)
  if (typeof value === 'string' && /^[a-z][a-z0-9+.-]*:\/\//i.test(value)) return maskUrl(value)
  return value
}

/** Masks user, password and query of a URL: `postgres://…@db.example:5432/starcite`. Hides text that is no URL as a whole. */
export function maskUrl(text: string): string {
  if (!URL.canParse(text)) return HIDDEN
  const { protocol, username, host, pathname, search } = new URL(text)
  return `${protocol}//${username ? '…@' : ''}${host}${pathname}${search ? '?…' : ''}`
}
