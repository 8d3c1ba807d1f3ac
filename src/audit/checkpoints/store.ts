import { type ObjectStore, ObjectStoreError } from '../../objects/objectStore.ts'

/** The object store has, under the name of a checkpoint, another one: somebody must look before anything goes on. */
export class ForkError extends Error {
  override readonly name = 'ForkError'
}

/**
 * Writes an object that never changes, and reads it back. Rejects with a ForkError when there is another one under its
 * key: what is there is never overwritten.
 */
export async function storeOnce(
  store: ObjectStore,
  key: string,
  body: Buffer,
  signal: AbortSignal,
): Promise<void> {
  await store.putNew(key, body, signal) // 'exists': perhaps written by an earlier attempt; what counts is what is there
  if (!(await store.get(key, signal)).equals(body))
    throw new ForkError(`${key} in the object store is not what this database has noted`)
}

/** Undefined when there is no such object. */
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
