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

/** Shorter than the time-outs of the store for whole objects, because a slice is small and a reader waits for it. */
const READ_TIMEOUT_MS = 15_000
/**
 * How often the cache is compared with the epochs in Postgres, for removals of content whose notification was lost.
 * The content is not shown meanwhile.
 */
const CHECK_INTERVAL_MS = 30_000

/** A slice in memory, with the session's epoch at the time of the manifest lookup. */
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
  /** While the node is idle, no periodic statement is sent. */
  readonly idleness?: Idleness
}

/**
 * Reads events that have moved out of Postgres. The manifest says which bytes; one Range GET fetches them; their
 * digest is checked; a cache with a bound in bytes keeps the slices. Concurrent readers of one slice share one read.
 * When content of a session is removed, the session's cached slices are dropped: on a notification, and at the latest
 * when `forgetStale` is called. Rejects with an ObjectStoreError when bytes cannot be read, and with a
 * DamagedObjectError when they are wrong.
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
      onFailure: (error) => log.warn({ err: error }, 'checking the cache for removed content failed'),
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

  /** Checks the cache for removed content now, because notifications may have been missed. */
  checkAll(): void {
    this.#loop.wake()
  }

  /** The bytes that the cache holds. */
  get cachedBytes(): number {
    return this.#slices.calculatedSize
  }

  /** The last seq of the session's cold part; 0 when all of it is hot. */
  coldUntil(sid: string): Promise<Seq> {
    return coldUntil(this.#options.db, sid)
  }

  /** All cold events of the slice that holds `seq`; undefined when that event is not cold. */
  async sliceAt(sid: string, seq: Seq): Promise<readonly RenderedEvent[] | undefined> {
    for (let missing: string | undefined; ; ) {
      const slice = await findSlice(this.#options.db, sid, seq)
      if (slice === undefined) return undefined
      try {
        return withoutHidden(await this.#events(sid, slice), slice.hidden)
      } catch (error) {
        // Between the lookup and the read, an object without the erased content may have replaced this one.
        if (!isMissing(error) || missing === slice.key) throw error
        missing = slice.key
      }
    }
  }

  /** Drops the session's cached slices, because content of the session was removed. */
  forget(sid: string): void {
    for (const [name, slice] of this.#slices.entries()) if (slice.sid === sid) this.#slices.delete(name)
  }

  /** Drops the cached slices of all sessions of which content was removed, also those whose notification was lost. */
  async forgetStale(): Promise<void> {
    const sids = new Set<string>()
    for (const { sid } of this.#slices.values()) sids.add(sid)
    if (sids.size === 0) return
    const epochs = await readEpochs(this.#options.db, [...sids])
    for (const [name, { sid, epoch }] of this.#slices.entries())
      if (epoch !== epochs.get(sid)) this.#slices.delete(name)
  }

  /** Reads the slice that holds `seq` in the background, because a reader will need it soon. */
  prefetch(sid: string, seq: Seq): void {
    this.sliceAt(sid, seq).catch(() => {}) // the reader handles the error when it reads
  }

  async #events(sid: string, slice: Slice): Promise<readonly RenderedEvent[]> {
    // After a restore the same location may hold other bytes, so the digest is part of the name.
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
