import { createHash, type Hash, hash } from 'node:crypto'
import type { Db } from '../../db/pool.ts'
import { type ObjectStore, ObjectStoreError } from '../../objects/objectStore.ts'
import type { Finding } from '../finding.ts'
import type { ColdObject, ColdSlice } from '../read/scope.ts'
import { objectNow } from './queries.ts'

interface ObjectInProgress {
  readonly object: ColdObject
  readonly hash: Hash
  /** The offset up to which the object is hashed; undefined when its slices did not come in sequence. */
  offset: number | undefined
}

/**
 * Computes the digests of whole objects from the slices as they are read. In the order of storage the slices of an
 * object come in sequence, so an object that was hashed to its end need not be read again.
 */
export class ObjectDigests {
  readonly #inProgress = new Map<string, ObjectInProgress>()

  add({ object, offset }: ColdSlice, member: Buffer): void {
    let it = this.#inProgress.get(object.id)
    if (it === undefined || it.object.key !== object.key) {
      it = { object, hash: createHash('sha256'), offset: 0 }
      this.#inProgress.set(object.id, it)
    }
    if (it.offset !== offset) it.offset = undefined
    if (it.offset === undefined) return
    it.hash.update(member)
    it.offset += member.length
    if (it.offset === object.bytes && it.hash.copy().digest('hex') === object.sha256)
      this.#inProgress.delete(object.id)
  }

  /** Reads the objects that were not hashed to their end, and yields what is wrong with them. */
  async *finish(db: Db, store: ObjectStore, signal: AbortSignal): AsyncGenerator<Finding, void> {
    for (const id of this.#inProgress.keys()) {
      const finding = await check(db, store, id, signal)
      if (finding !== undefined) yield finding
    }
    this.#inProgress.clear()
  }
}

async function check(
  db: Db,
  store: ObjectStore,
  id: string,
  signal: AbortSignal,
): Promise<Finding | undefined> {
  for (let before: string | undefined; ; ) {
    const object = await objectNow(db, id)
    if (object === undefined) return undefined
    const problem = await readWhole(store, object, signal)
    if (problem === undefined) return undefined
    // Between the lookup and the read, an erasure may have replaced the object.
    if (object.key === before) return { ...object.first, ...problem }
    before = object.key
  }
}

async function readWhole(
  store: ObjectStore,
  { key, sha256 }: ColdObject,
  signal: AbortSignal,
): Promise<Pick<Finding, 'reason' | 'detail'> | undefined> {
  try {
    if (hash('sha256', await store.get(key, signal), 'hex') === sha256) return undefined
    return { reason: 'object_changed', detail: `the sha256 of ${key} is not that of the manifest` }
  } catch (error) {
    if (!(error instanceof ObjectStoreError)) throw error
    if (error.kind === 'missing') return { reason: 'object_missing', detail: `there is no object ${key}` }
    if (error.kind === 'damaged')
      return { reason: 'object_changed', detail: `object ${key} is not whole: ${error.message}` }
    throw error
  }
}
