import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Db } from '../db/pool.ts'
import type { ObjectStore } from '../objects/objectStore.ts'
import type { Metrics } from '../ops/metrics.ts'
import type { Frame, Seq } from '../protocol/event.ts'
import { DamagedObjectError } from './archive.ts'
import { coldUntil, findSlice, type Slice } from './queries.ts'
import { unpackSlice } from './slice.ts'

/** A cached frame costs its text, twice when it was also encoded, and what holds it. */
const FRAME_OVERHEAD_BYTES = 150

/**
 * Reads events that have moved out of Postgres: which bytes, from the manifest; those bytes, with one Range GET a slice,
 * checked against their digest; and keeps slices that were read, within a bound of bytes. Readers of one slice at the
 * same time share one read.
 */
export class ColdReader {
  readonly #db: Db
  readonly #store: ObjectStore
  readonly #metrics: Metrics
  readonly #slices: LRUCache<string, readonly Frame[]>
  readonly #reading = new Map<string, Promise<readonly Frame[]>>()

  constructor(db: Db, store: ObjectStore, cacheBytes: number, metrics: Metrics) {
    this.#db = db
    this.#store = store
    this.#metrics = metrics
    this.#slices = new LRUCache({
      maxSize: Math.max(1, cacheBytes),
      sizeCalculation: (frames) =>
        1 + frames.reduce((sum, frame) => sum + 2 * frame.text.length + FRAME_OVERHEAD_BYTES, 0),
    })
  }

  /** Bytes that the cache holds. */
  get cachedBytes(): number {
    return this.#slices.calculatedSize
  }

  /** The last seq of the session's cold part; 0 when all of it is hot. */
  coldUntil(sid: string): Promise<Seq> {
    return coldUntil(this.#db, sid)
  }

  /** The cold events of the slice that holds `seq`, all of them; undefined when that event is not cold. */
  async sliceAt(sid: string, seq: Seq): Promise<readonly Frame[] | undefined> {
    const slice = await findSlice(this.#db, sid, seq)
    return slice && this.#frames(slice)
  }

  /** Reads the slice that holds `seq` in the background, for a reader that is about to want it. */
  prefetch(sid: string, seq: Seq): void {
    this.sliceAt(sid, seq).catch(() => {}) // the reader will meet the error itself
  }

  async #frames(slice: Slice): Promise<readonly Frame[]> {
    const name = `${slice.key}@${slice.offset}`
    const cached = this.#slices.get(name)
    this.#metrics.coldCache(cached !== undefined)
    if (cached !== undefined) return cached
    let reading = this.#reading.get(name)
    if (reading === undefined) {
      reading = this.#read(slice).finally(() => this.#reading.delete(name))
      this.#reading.set(name, reading)
    }
    const frames = await reading
    this.#slices.set(name, frames)
    return frames
  }

  async #read({ key, offset, bytes, sha256, firstSeq, lastSeq }: Slice): Promise<readonly Frame[]> {
    const member = await this.#store.getRange(key, offset, bytes)
    if (createHash('sha256').update(member).digest('hex') !== sha256)
      throw new DamagedObjectError(`the bytes of object ${key} at ${offset} are not those that were written`)
    return unpackSlice(member, firstSeq, lastSeq)
  }
}
