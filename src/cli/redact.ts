const SECRET = /secret|password|token|credential|accesskey|privatekey/i
const HIDDEN = '(set, not shown)'

/**
 * A copy for printing. Texts under a name that speaks of secrets are hidden; of URLs only the scheme, host, port and path
 * are left.
 */
export function redacted(value: object): object {
  return Object.fromEntries(Object.entries(value).map(([key, it]) => [key, redactedValue(key, it)]))
}

function redactedValue(key: string, value: unknown): unknown {
  if (value instanceof Set) return redactedValue(key, [...value])
  if (Array.isArray(value)) return value.map((it) => redactedValue(key, it))
  if (SECRET.test(key) && typeof value !== 'number' && typeof value !== 'boolean' && value !== undefined)
    return HIDDEN
  if (typeof value === 'object' && value !== null) return redacted(value)
  if (typeof value === 'string' && /^[a-z][a-z0-9+.-]*:\/\//i.test(value)) return redactedUrl(value)
  return value
}

/** `postgres://…@db.example:5432/starcite`. What does not parse is not shown at all. */
export function redactedUrl(text: string): string {
  if (!URL.canParse(text)) return HIDDEN
  const { protocol, username, host, pathname, search } = new URL(text)
  return `${protocol}//${username ? '…@' : ''}${host}${pathname}${search ? '?…' : ''}`
}
