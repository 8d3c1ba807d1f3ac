import { stat } from 'node:fs/promises'
import { type KeyParts, partsOf } from '../../archive/objectKey.ts'
import { filesOfCopy } from '../copiedFiles.ts'

/** A file of a copy of the bucket that was an object with events. */
export interface ObjectFile extends KeyParts {
  readonly path: string
  readonly bytes: number
}

export interface CopyOfBucket {
  /** Ordered by tenant, then by segment, whose names are ordered by time. */
  readonly files: readonly ObjectFile[]
  /** Files that are not objects of Starcite. */
  readonly others: number
}

/** Finds the objects with events below a directory. Rejects when the directory cannot be read. */
export async function findObjects(directory: string): Promise<CopyOfBucket> {
  const files: ObjectFile[] = []
  let others = 0
  for (const { path, key } of await filesOfCopy(directory)) {
    const parts = key === undefined ? undefined : partsOf(key)
    if (parts !== undefined) files.push({ path, bytes: (await stat(path)).size, ...parts })
    else others += 1
  }
  return { files: files.sort(inOrder), others }
}

const inOrder = (a: ObjectFile, b: ObjectFile) =>
  compare(a.tenant, b.tenant) || compare(a.segment, b.segment) || compare(a.path, b.path)

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)
