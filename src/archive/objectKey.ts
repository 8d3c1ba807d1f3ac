import { randomBytes } from 'node:crypto'

/** The parts of an object's name beside its segment. */
interface NamedObject {
  readonly tenantId: string
  /** Digest of the whole object. */
  readonly sha256: Buffer
}

/** The parts of the key of an object with events. */
export interface KeyParts {
  readonly tenant: string
  readonly segment: string
  /** Digest of the whole object, in lower-case hex. */
  readonly sha256: string
}

export const EVENT_OBJECT_KEY =
  /(?:^|\/)(?<key>v1\/(?<tenant>[^/]+)\/(?<segment>[^/]+)\/(?<sha256>[0-9a-f]{64})(?:-[0-9a-f]{12})?\.ndjson\.gz)$/

/**
 * The key of an object. The tenant comes first, so that policies and listings can select by tenant; then the segment;
 * then the object's digest.
 */
export function objectKey(segment: string, object: NamedObject): string {
  return `${keyPrefix(segment, object.tenantId)}${object.sha256.toString('hex')}.ndjson.gz`
}

/**
 * The key of an object that replaces another. No two attempts choose the same key, so what a dead process has left
 * may be deleted without regard to other attempts.
 */
export function successorKey(segment: string, object: NamedObject): string {
  const attempt = randomBytes(6).toString('hex')
  return `${keyPrefix(segment, object.tenantId)}${object.sha256.toString('hex')}-${attempt}.ndjson.gz`
}

/** The prefix of a tenant's objects of one segment. */
export const keyPrefix = (segment: string, tenantId: string): string => `v1/${keyPart(tenantId)}/${segment}/`

/** Percent-encodes all but unreserved characters, and a name that consists of dots. */
function keyPart(text: string): string {
  const encoded = encodeURIComponent(text).replace(
    /[!'()*~]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return /^\.+$/.test(encoded) ? encoded.replaceAll('.', '%2E') : encoded
}

/** The parts of the key of an object with events; undefined for any other key. */
export function partsOf(key: string): KeyParts | undefined {
  const { tenant, segment, sha256 } = EVENT_OBJECT_KEY.exec(key)?.groups ?? {}
  if (tenant === undefined || segment === undefined || sha256 === undefined) return undefined
  try {
    return { tenant: decodeURIComponent(tenant), segment, sha256 }
  } catch {
    return undefined // no node encodes a tenant like that
  }
}
