import { randomBytes } from 'node:crypto'
import type { ObjectStore } from '../objects/objectStore.ts'
import type { PackedObject, PackedSlice } from './copy/packer.ts'
import { checkSlice } from './slice.ts'

/** An object in the store is not what was written, or not what the manifest says. */
export class DamagedObjectError extends Error {
  override readonly name = 'DamagedObjectError'
}

/** Tenant first, so that policies and listings can go by tenant; then the segment; then the content's digest. */
export function objectKey(segment: string, object: PackedObject): string {
  return `${keyPrefix(segment, object.tenantId)}${object.sha256.toString('hex')}.ndjson.gz`
}

/**
 * The name of an object that takes the place of another. No two attempts choose the same, so what an attempt of a dead
 * process left may be deleted without looking out for another attempt's object.
 */
export function successorKey(segment: string, object: Pick<PackedObject, 'tenantId' | 'sha256'>): string {
  const attempt = randomBytes(6).toString('hex')
  return `${keyPrefix(segment, object.tenantId)}${object.sha256.toString('hex')}-${attempt}.ndjson.gz`
}

/** What the keys of a tenant's objects of one segment begin with. */
export const keyPrefix = (segment: string, tenantId: string): string => `v1/${keyPart(tenantId)}/${segment}/`

/** Percent-encodes all but unreserved characters, and a name that consists of dots. */
function keyPart(text: string): string {
  const encoded = encodeURIComponent(text).replace(
    /[!'()*~]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return /^\.+$/.test(encoded) ? encoded.replaceAll('.', '%2E') : encoded
}

/** What of an object it takes to store it. */
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
 * earlier attempt of the same content, and every slice in it opens.
 */
export async function storeVerified(
  store: ObjectStore,
  key: string,
  object: StorableObject,
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
