import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'

/** A file of a copy of the bucket whose path ends as the key of an object does. */
export interface ObjectFile {
  readonly path: string
  readonly bytes: number
  readonly tenant: string
  readonly segment: string
  /** By its name. */
  readonly sha256: string
}

export interface CopyOfBucket {
  /** By tenant, then by segment, whose names are in order of time. */
  readonly files: readonly ObjectFile[]
  /** Files that are no objects of ours. */
  readonly others: number
}

const KEY =
  /(?:^|\/)v1\/(?<tenant>[^/]+)\/(?<segment>[^/]+)\/(?<sha256>[0-9a-f]{64})(?:-[0-9a-f]{12})?\.ndjson\.gz$/

/** The objects below a directory, whatever prefix stands before their keys. Rejects when it cannot be read. */
export async function findObjects(directory: string): Promise<CopyOfBucket> {
  const files: ObjectFile[] = []
  let others = 0
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const file = path.join(entry.parentPath, entry.name)
    const found = KEY.exec(path.relative(directory, file).split(path.sep).join('/'))?.groups
    if (found === undefined) {
      others += 1
      continue
    }
    files.push({
      path: file,
      bytes: (await stat(file)).size,
      tenant: decodeURIComponent(found.tenant as string),
      segment: found.segment as string,
      sha256: found.sha256 as string,
    })
  }
  return { files: files.sort(inOrder), others }
}

const inOrder = (a: ObjectFile, b: ObjectFile) =>
  compare(a.tenant, b.tenant) || compare(a.segment, b.segment) || compare(a.path, b.path)

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)
