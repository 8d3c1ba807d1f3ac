import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Db } from '../../db/pool.ts'
import { type ObjectStore, ObjectStoreError } from '../../objects/objectStore.ts'
import type { Log } from '../../ops/log.ts'
import type { Metrics } from '../../ops/metrics.ts'
import type { Frame, Seq } from '../../protocol/event.ts'
import { DamagedObjectError } from '../archive.ts'
import { unpackSlice } from '../slice.ts'
import { coldUntil, findSlice, type Slice } from './queries.ts'

/** Somebody waits for a slice, which is small: so less than the store's own patience with large objects. */
const READ_TIMEOUT_MS = 15_000

export interface ColdReaderOptions {
  readonly db: Db
  readonly store: ObjectStore
  readonly cacheBytes: number
  readonly log: Log
  readonly metrics: Metrics
  readonly timeoutMs?: number
}

/**
 * Reads events that have moved out of Postgres: which bytes, from the manifest; those bytes, with one Range GET a slice,
 * checked against their digest; and keeps slices that were read, within a bound of bytes. Readers of one slice at the
 * same time share one read. What cannot be had rejects with an ObjectStoreError, what is wrong with a DamagedObjectError.
 */
export class ColdReader {
  readonly #options: ColdReaderOptions
  readonly #slices: LRUCache<string, readonly Frame[]>
  readonly #reading = new Map<string, Promise<readonly Frame[]>>()

  constructor(options: ColdReaderOptions) {
    this.#options = options
    this.#slices = new LRUCache({
      maxSize: Math.max(1, options.cacheBytes),
      sizeCalculation: (frames) => 1 + frames.reduce((sum, frame) => sum + frame.memoryBytes, 0),
    })
  }

  /** Bytes that the cache holds. */
  get cachedBytes(): number {
    return this.#slices.calculatedSize
  }

  /** The last seq of the session's cold part; 0 when all of it is hot. */
  coldUntil(sid: string): Promise<Seq> {
    return coldUntil(this.#options.db, sid)
  }

  /** The cold events of the slice that holds `seq`, all of them; undefined when that event is not cold. */
  async sliceAt(sid: string, seq: Seq): Promise<readonly Frame[] | undefined> {
    const slice = await findSlice(this.#options.db, sid, seq)
    return slice && this.#frames(slice)
  }

  /** Reads the slice that holds `seq` in the background, for a reader that is about to want it. */
  prefetch(sid: string, seq: Seq): void {
    this.sliceAt(sid, seq).catch(() => {}) // the reader will meet the error itself
  }

  async #frames(slice: Slice): Promise<readonly Frame[]> {
    const name = `${slice.key}@${slice.offset}`
    const cached = this.#slices.get(name)
    this.#options.metrics.coldCache(cached !== undefined)
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
    const member = await this.#fetch(key, offset, bytes)
    if (createHash('sha256').update(member).digest('hex') === sha256)
      return unpackSlice(member, firstSeq, lastSeq)
    const error = new DamagedObjectError(
      `the bytes of object ${key} at ${offset} are not those that were written`,
    )
    this.#options.log.error({ err: error, key, offset, bytes }, 'cold storage is damaged')
    throw error
  }

  async #fetch(key: string, offset: number, bytes: number): Promise<Buffer> {
    const { store, timeoutMs = READ_TIMEOUT_MS } = this.#options
    const patience = new AbortController()
    const timer = setTimeout(
      () =>
        patience.abort(
          new ObjectStoreError('unavailable', `${key} could not be read within ${timeoutMs} ms`),
        ),
      timeoutMs,
    )
    try {
      return await store.getRange(key, offset, bytes, patience.signal)
    } finally {
      clearTimeout(timer)
    }
  }
}
