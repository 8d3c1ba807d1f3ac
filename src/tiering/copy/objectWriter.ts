import { objectKey, successorKey } from '../../archive/objectKey.ts'
import { LinkedAbort } from '../../lib/linkedAbort.ts'
import type { ObjectStore } from '../../objects/objectStore.ts'
import { DamagedObjectError } from '../../objects/objectStore.ts'
import type { Probe } from '../step.ts'
import type { PackedObject } from './packer.ts'
import { storeVerified } from './storeVerified.ts'

/** Enough to hide a store's latency when a segment has many small tenants. */
const MAX_OBJECTS = 8
/**
 * The most bytes that are being stored at a time, and as many again while they are read back. One object may be
 * larger.
 */
const MAX_BYTES = 20 * 1024 * 1024

export interface ObjectWriterOptions {
  readonly store: ObjectStore
  readonly segment: string
  /** Records an object in the manifest. */
  readonly record: (key: string, object: PackedObject) => Promise<void>
  readonly signal: AbortSignal
  readonly probe: Probe | undefined
}

/**
 * Stores objects, a few at a time, and records them in the manifest in the order in which they came, so the next run
 * continues after the last one that was recorded. After a failure nothing more is recorded.
 */
export class ObjectWriter {
  readonly #options: ObjectWriterOptions
  readonly #failed: LinkedAbort
  readonly #under: { readonly bytes: number; readonly noted: Promise<void> }[] = []

  constructor(options: ObjectWriterOptions) {
    this.#options = options
    this.#failed = new LinkedAbort([options.signal])
  }

  /** Resolves when there is room for another object; rejects with the failure of an earlier one. */
  async add(object: PackedObject): Promise<void> {
    await this.#untilRoomFor(object.body.length)
    const noted = this.#write(object, this.#under.at(-1)?.noted)
    noted.catch(this.#abort)
    this.#under.push({ bytes: object.body.length, noted })
  }

  /** Resolves when all objects are recorded. */
  async finish(): Promise<void> {
    for (let first = this.#under.shift(); first; first = this.#under.shift()) await first.noted
  }

  /** Aborts the writes in progress. Resolves when all of them have ended. */
  async stop(): Promise<void> {
    this.#abort()
    this.#failed.release()
    await Promise.allSettled(this.#under.map(({ noted }) => noted))
  }

  readonly #abort = () => this.#failed.abort()

  async #untilRoomFor(bytes: number): Promise<void> {
    const total = () => this.#under.reduce((sum, it) => sum + it.bytes, bytes)
    while (this.#under.length > 0 && (this.#under.length >= MAX_OBJECTS || total() > MAX_BYTES)) {
      await this.#under[0]?.noted
      this.#under.shift()
    }
  }

  async #write(object: PackedObject, previous: Promise<void> | undefined): Promise<void> {
    const { store, segment, record, probe } = this.#options
    const options = { signal: this.#failed.signal, onStored: () => probe?.('stored') }
    let key = objectKey(segment, object)
    try {
      await storeVerified(store, key, object, options)
    } catch (error) {
      if (!(error instanceof DamagedObjectError)) throw error
      // Other bytes have this name, and every further attempt would find them again.
      key = successorKey(segment, object)
      await storeVerified(store, key, object, options)
    }
    await previous
    await probe?.('verified')
    await record(key, object)
    await probe?.('recorded')
  }
}
