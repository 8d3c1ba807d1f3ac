import { randomBytes } from 'node:crypto'

/** What the name of an object is made of, beside its segment. */
interface NamedObject {
  readonly tenantId: string
  /** Of the whole object. */
  readonly sha256: Buffer
}

/** Of an object with events. */
export interface KeyParts {
  readonly tenant: string
  readonly segment: string
  /** Of the object. */
  readonly sha256: string
}

export const EVENT_OBJECT_KEY =
  /(?:^|\/)(?<key>v1\/(?<tenant>[^/]+)\/(?<segment>[^/]+)\/(?<sha256>[0-9a-f]{64})(?:-[0-9a-f]{12})?\.ndjson\.gz)$/

/** Tenant first, so that policies and listings can go by tenant; then the segment; then the content's digest. */
export function objectKey(segment: string, object: NamedObject): string {
  return `${keyPrefix(segment, object.tenantId)}${object.sha256.toString('hex')}.ndjson.gz`
}

/**
 * The name of an object that takes the place of another. No two attempts choose the same, so what an attempt of a dead
 * process left may be deleted without looking out for another attempt's object.
 */
export function successorKey(segment: string, object: NamedObject): string {
  const attempt = randomBytes(6).toString('hex')
  return `${keyPrefix(segment, object.tenantId)}${object.sha256.toString('hex')}-${attempt}.ndjson.gz`
}

/** What the keys of a tenant's objects of one segment begin with. */
export const keyPrefix = (segment: string, tenantId: string): string => `v1/${keyPart(tenantId)}/${segment}/`

/** Percent-encodes all but unreserved characters, and a name that consists of dots. */
function keyPart(text: string): string {
  const encoded = encodeURIComponent(text).replace(
    /[!'()*~]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return /^\.+$/.test(encoded) ? encoded.replaceAll('.', '%2E') : encoded
}

/** What the key of an object with events says; undefined when it is of another object. */
export function partsOf(key: string): KeyParts | undefined {
  const { tenant, segment, sha256 } = EVENT_OBJECT_KEY.exec(key)?.groups ?? {}
  if (tenant === undefined || segment === undefined || sha256 === undefined) return undefined
  try {
    return { tenant: decodeURIComponent(tenant), segment, sha256 }
  } catch {
    return undefined // no node encodes a tenant like that
  }
}
