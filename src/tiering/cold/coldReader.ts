import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { unpackSlice } from '../../archive/slice.ts'
import type { Db } from '../../db/pool.ts'
import { type Idleness, NEVER_IDLE } from '../../lib/idleness.ts'
import { LinkedAbort } from '../../lib/linkedAbort.ts'
import { Loop } from '../../lib/loop.ts'
import { DamagedObjectError, type ObjectStore, ObjectStoreError } from '../../objects/objectStore.ts'
import type { Log } from '../../ops/log.ts'
import type { Metrics } from '../../ops/metrics.ts'
import { type RenderedEvent, type Seq, withoutContent } from '../../protocol/event.ts'
import { coldUntil, findSlice, readEpochs, type Slice } from './queries.ts'

/** Somebody waits for a slice, which is small: so less than the store's own deadline with large objects. */
const READ_TIMEOUT_MS = 15_000
/** How long the cache may keep content that was removed, when nobody told this node. It is not shown meanwhile. */
const CHECK_INTERVAL_MS = 30_000

/** A slice in memory, and the session's epoch when it was looked for. */
interface CachedSlice {
  readonly sid: string
  readonly epoch: number
  readonly events: readonly RenderedEvent[]
}

export interface ColdReaderOptions {
  readonly db: Db
  readonly store: ObjectStore
  readonly cacheBytes: number
  readonly log: Log
  readonly metrics: Metrics
  readonly timeoutMs?: number
  /** While it is idle, no periodic statement is sent. */
  readonly idleness?: Idleness
}

/**
 * Reads events that have moved out of Postgres: which bytes, from the manifest; those bytes, with one Range GET a slice,
 * checked against their digest; and keeps slices that were read, within a bound of bytes. Readers of one slice at the
 * same time share one read. When content of a session was removed, what is kept of the session is forgotten: at a hint,
 * and at the latest when `forgetStale` is called. What cannot be had rejects with an ObjectStoreError, what is wrong with a DamagedObjectError.
 */
export class ColdReader {
  readonly #options: ColdReaderOptions
  readonly #slices: LRUCache<string, CachedSlice>
  readonly #reading = new Map<string, Promise<readonly RenderedEvent[]>>()
  readonly #loop: Loop

  constructor(options: ColdReaderOptions) {
    this.#options = options
    const { idleness = NEVER_IDLE, log } = options
    this.#loop = new Loop({
      pass: () => this.forgetStale(),
      intervalMs: CHECK_INTERVAL_MS,
      gate: (signal) => idleness.awake(signal),
      onFailure: (error) => log.warn({ err: error }, 'looking for removed content in the cache failed'),
    })
    this.#slices = new LRUCache({
      maxSize: Math.max(1, options.cacheBytes),
      sizeCalculation: ({ events }) => 1 + events.reduce((sum, event) => sum + event.memoryBytes, 0),
    })
  }

  start(): void {
    this.#loop.start()
  }

  stop(): Promise<void> {
    return this.#loop.stop()
  }

  /** Notifications may have been missed: look now whether content was removed. */
  checkAll(): void {
    this.#loop.wake()
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
  async sliceAt(sid: string, seq: Seq): Promise<readonly RenderedEvent[] | undefined> {
    for (let missing: string | undefined; ; ) {
      const slice = await findSlice(this.#options.db, sid, seq)
      if (slice === undefined) return undefined
      try {
        return withoutHidden(await this.#events(sid, slice), slice.hidden)
      } catch (error) {
        // Its place may have been taken by an object without some content, between our look and our read.
        if (!isMissing(error) || missing === slice.key) throw error
        missing = slice.key
      }
    }
  }

  /** Content of the session was removed. */
  forget(sid: string): void {
    for (const [name, slice] of this.#slices.entries()) if (slice.sid === sid) this.#slices.delete(name)
  }

  /** Forgets what is kept of sessions of which content was removed, whether or not somebody told us. */
  async forgetStale(): Promise<void> {
    const sids = new Set<string>()
    for (const { sid } of this.#slices.values()) sids.add(sid)
    if (sids.size === 0) return
    const epochs = await readEpochs(this.#options.db, [...sids])
    for (const [name, { sid, epoch }] of this.#slices.entries())
      if (epoch !== epochs.get(sid)) this.#slices.delete(name)
  }

  /** Reads the slice that holds `seq` in the background, for a reader that is about to want it. */
  prefetch(sid: string, seq: Seq): void {
    this.sliceAt(sid, seq).catch(() => {}) // the reader will meet the error itself
  }

  async #events(sid: string, slice: Slice): Promise<readonly RenderedEvent[]> {
    // After a restore the same place may be written anew: the digest says which bytes are meant.
    const name = `${slice.key}@${slice.offset} ${slice.sha256}`
    const cached = this.#slices.get(name)
    this.#options.metrics.coldCache(cached !== undefined)
    if (cached !== undefined) return cached.events
    let reading = this.#reading.get(name)
    if (reading === undefined) {
      reading = this.#read(slice).finally(() => this.#reading.delete(name))
      this.#reading.set(name, reading)
    }
    const events = await reading
    this.#slices.set(name, { sid, epoch: slice.epoch, events })
    return events
  }

  async #read({ key, offset, bytes, sha256, firstSeq, lastSeq }: Slice): Promise<readonly RenderedEvent[]> {
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
    const deadline = new LinkedAbort([], {
      ms: timeoutMs,
      reason: () => new ObjectStoreError('unavailable', `${key} could not be read within ${timeoutMs} ms`),
    })
    try {
      return await store.getRange(key, offset, bytes, deadline.signal)
    } finally {
      deadline.release()
    }
  }
}

const isMissing = (error: unknown) => error instanceof ObjectStoreError && error.kind === 'missing'

function withoutHidden(events: readonly RenderedEvent[], hidden: Slice['hidden']): readonly RenderedEvent[] {
  if (hidden.length === 0) return events
  return events.map((event) =>
    hidden.some(([first, last]) => event.seq >= first && event.seq <= last) ? withoutContent(event) : event,
  )
}
