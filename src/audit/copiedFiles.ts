import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { EVENT_OBJECT_KEY } from '../archive/objectKey.ts'

/** A file of a copy of the bucket. */
export interface CopiedFile {
  readonly path: string
  /**
   * The key of the object that it was, without the prefix of that bucket; undefined when the file is not an object of
   * Starcite.
   */
  readonly key: string | undefined
}

const CHECKPOINT = /(?:^|\/)(?<key>checkpoints\/v1\/[^/]+)$/

/** All files below a directory, as `aws s3 sync` leaves them. Rejects when the directory cannot be read. */
export async function filesOfCopy(directory: string): Promise<CopiedFile[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  return entries
    .filter((it) => it.isFile())
    .map((it) => {
      const file = path.join(it.parentPath, it.name)
      const name = path.relative(directory, file).split(path.sep).join('/')
      return { path: file, key: (CHECKPOINT.exec(name) ?? EVENT_OBJECT_KEY.exec(name))?.groups?.key }
    })
}
