import { readdir, readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { ObjectStoreError, type StoredObject } from '../../../objects/objectStore.ts'
import type { CheckpointStore } from './verify.ts'

/** Keys of the log, behind whatever prefix the store has put before them. */
const KEY = /(?:^|\/)((?:v1|checkpoints\/v1)\/.+)$/

/** A copy of the bucket in a directory, as `aws s3 sync` leaves it. Rejects when there is no such directory. */
export async function openCopy(directory: string): Promise<CheckpointStore> {
  const files = new Map<string, string>()
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const file = path.join(entry.parentPath, entry.name)
    const key = KEY.exec(path.relative(directory, file).split(path.sep).join('/'))?.[1]
    if (entry.isFile() && key !== undefined) files.set(key, file)
  }
  return {
    get: async (key) => {
      const file = files.get(key)
      if (file === undefined) throw new ObjectStoreError('missing', `${key} is not in the copy`)
      return readFile(file)
    },
    async *list(prefix): AsyncGenerator<StoredObject> {
      for (const [key, file] of files)
        if (key.startsWith(prefix)) yield { key, bytes: (await stat(file)).size }
    },
  }
}
