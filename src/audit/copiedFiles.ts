import { readdir } from 'node:fs/promises'
import path from 'node:path'

/** A file of a copy of the bucket. */
export interface CopiedFile {
  readonly path: string
  /** Of the object that it was, without what stood before keys in that bucket; undefined: none of ours. */
  readonly key: string | undefined
}

/** Of an object with events. */
export interface KeyParts {
  readonly tenant: string
  readonly segment: string
  /** Of the object. */
  readonly sha256: string
}

const EVENTS =
  /(?:^|\/)(?<key>v1\/(?<tenant>[^/]+)\/(?<segment>[^/]+)\/(?<sha256>[0-9a-f]{64})(?:-[0-9a-f]{12})?\.ndjson\.gz)$/
const CHECKPOINT = /(?:^|\/)(?<key>checkpoints\/v1\/[^/]+)$/

/** All files below a directory, as `aws s3 sync` leaves them. Rejects when it cannot be read. */
export async function filesOfCopy(directory: string): Promise<CopiedFile[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  return entries
    .filter((it) => it.isFile())
    .map((it) => {
      const file = path.join(it.parentPath, it.name)
      const name = path.relative(directory, file).split(path.sep).join('/')
      return { path: file, key: (CHECKPOINT.exec(name) ?? EVENTS.exec(name))?.groups?.key }
    })
}

/** What the key of an object with events says; undefined when it is of another object. */
export function partsOf(key: string): KeyParts | undefined {
  const { tenant, segment, sha256 } = EVENTS.exec(key)?.groups ?? {}
  if (tenant === undefined || segment === undefined || sha256 === undefined) return undefined
  try {
    return { tenant: decodeURIComponent(tenant), segment, sha256 }
  } catch {
    return undefined // no node encodes a tenant like that
  }
}
