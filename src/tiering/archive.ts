import type { ObjectStore } from '../objects/objectStore.ts'
import type { PackedObject } from './copy/packer.ts'
import { checkSlice } from './slice.ts'

/** An object in the store is not what was written, or not what the manifest says. */
export class DamagedObjectError extends Error {
  override readonly name = 'DamagedObjectError'
}

/** Tenant first, so that policies and listings can go by tenant; then the segment; then the content's digest. */
export function objectKey(segment: string, object: PackedObject): string {
  return `v1/${keyPart(object.tenantId)}/${segment}/${object.sha256.toString('hex')}.ndjson.gz`
}

/** Percent-encodes all but unreserved characters, and a name that consists of dots. */
function keyPart(text: string): string {
  const encoded = encodeURIComponent(text).replace(
    /[!'()*~]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return /^\.+$/.test(encoded) ? encoded.replaceAll('.', '%2E') : encoded
}

export interface StoreOptions {
  readonly signal: AbortSignal
  /** Called between writing and reading back. */
  readonly onStored: () => unknown
}

/**
 * Writes an object and reads it back. Resolves only when the store returned exactly what was written, now or by an
 * earlier attempt of the same content, and every slice in it opens.
 */
export async function storeVerified(
  store: ObjectStore,
  key: string,
  object: PackedObject,
  { signal, onStored }: StoreOptions,
): Promise<void> {
  await store.putNew(key, object.body, signal) // 'exists': an earlier attempt; what counts is what is there
  await onStored()
  const stored = await store.get(key, signal)
  // Never overwritten or deleted from here: if another node has noted it, it may be all there is of its events.
  if (!stored.equals(object.body)) throw new DamagedObjectError(`object ${key} was read back different`)
  for (const { offset, bytes, firstSeq, lastSeq } of object.slices)
    await checkSlice(stored.subarray(offset, offset + bytes), firstSeq, lastSeq)
}
