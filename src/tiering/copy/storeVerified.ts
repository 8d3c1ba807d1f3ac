import { checkSlice } from '../../archive/slice.ts'
import { DamagedObjectError, type ObjectStore } from '../../objects/objectStore.ts'
import type { PackedSlice } from './packer.ts'

/** What storeVerified needs to know of an object. */
interface StorableObject {
  readonly body: Buffer
  readonly slices: readonly Pick<PackedSlice, 'offset' | 'bytes' | 'firstSeq' | 'lastSeq'>[]
}

export interface StoreOptions {
  readonly signal: AbortSignal
  /** Called between writing and reading back. */
  readonly onStored: () => unknown
}

/**
 * Writes an object and reads it back. Resolves only when the store returned exactly what was written, now or by an
 * earlier attempt with the same content, and every slice in it opens.
 */
export async function storeVerified(
  store: ObjectStore,
  key: string,
  object: StorableObject,
  { signal, onStored }: StoreOptions,
): Promise<void> {
  await store.putNew(key, object.body, signal) // 'exists': an earlier attempt wrote it, which the comparison below shows
  await onStored()
  const stored = await store.get(key, signal)
  // The object is not overwritten or deleted here: if another node has recorded it, it may be the only copy of its
  // events.
  if (!stored.equals(object.body))
    throw new DamagedObjectError(`object ${key} does not have the bytes that were written`)
  for (const { offset, bytes, firstSeq, lastSeq } of object.slices)
    await checkSlice(stored.subarray(offset, offset + bytes), firstSeq, lastSeq)
}
