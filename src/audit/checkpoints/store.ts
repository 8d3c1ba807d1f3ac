import { type ObjectStore, ObjectStoreError } from '../../objects/objectStore.ts'

/**
 * The object store has a different checkpoint under the name of one. An operator has to decide before the job
 * continues.
 */
export class ForkError extends Error {
  override readonly name = 'ForkError'
}

/**
 * Writes an immutable object, and reads it back. Rejects with a ForkError when a different object has its key, which
 * is never overwritten.
 */
export async function storeOnce(
  store: ObjectStore,
  key: string,
  body: Buffer,
  signal: AbortSignal,
): Promise<void> {
  await store.putNew(key, body, signal) // 'exists': perhaps from an earlier attempt; the comparison below decides
  if (!(await store.get(key, signal)).equals(body))
    throw new ForkError(`${key} in the object store is not the checkpoint that this database has recorded`)
}

/** Resolves with undefined when there is no such object. */
export async function getIfThere(
  store: Pick<ObjectStore, 'get'>,
  key: string,
  signal?: AbortSignal,
): Promise<Buffer | undefined> {
  try {
    return await store.get(key, signal)
  } catch (error) {
    if (error instanceof ObjectStoreError && error.kind === 'missing') return undefined
    throw error
  }
}
