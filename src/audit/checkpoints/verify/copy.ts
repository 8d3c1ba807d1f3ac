import { readFile, stat } from 'node:fs/promises'
import { ObjectStoreError, type StoredObject } from '../../../objects/objectStore.ts'
import { filesOfCopy } from '../../copiedFiles.ts'
import type { CheckpointStore } from './verify.ts'

/** Opens a copy of the bucket in a directory, as `aws s3 sync` leaves it. Rejects when there is no such directory. */
export async function openCopy(directory: string): Promise<CheckpointStore> {
  const files = new Map<string, string>()
  for (const { path, key } of await filesOfCopy(directory)) if (key !== undefined) files.set(key, path)
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
