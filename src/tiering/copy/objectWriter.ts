import { objectKey, successorKey } from '../../archive/objectKey.ts'
import { LinkedAbort } from '../../lib/linkedAbort.ts'
import type { ObjectStore } from '../../objects/objectStore.ts'
import { DamagedObjectError } from '../../objects/objectStore.ts'
import type { Probe } from '../step.ts'
import type { PackedObject } from './packer.ts'
import { storeVerified } from './storeVerified.ts'

/** Enough to hide a store's latency when a segment has many small tenants. */
const MAX_OBJECTS = 8
/** What is being stored, in bytes, and as much again while it is read back. One object may be larger. */
const MAX_BYTES = 20 * 1024 * 1024

export interface ObjectWriterOptions {
  readonly store: ObjectStore
  readonly segment: string
  /** Notes an object in the manifest. */
  readonly record: (key: string, object: PackedObject) => Promise<void>
  readonly signal: AbortSignal
  readonly probe: Probe | undefined
}

/**
 * Stores objects, a few at a time, and notes them in the manifest in the order in which they came: so whatever was
 * noted, the next run goes on behind the last of it. After a failure nothing more is noted.
 */
export class ObjectWriter {
  readonly #options: ObjectWriterOptions
  readonly #failed: LinkedAbort
  readonly #under: { readonly bytes: number; readonly noted: Promise<void> }[] = []

  constructor(options: ObjectWriterOptions) {
    this.#options = options
    this.#failed = new LinkedAbort([options.signal])
  }

  /** Resolves when there is room for another; rejects with the failure of an earlier one. */
  async add(object: PackedObject): Promise<void> {
    await this.#untilRoomFor(object.body.length)
    const noted = this.#write(object, this.#under.at(-1)?.noted)
    noted.catch(this.#abort)
    this.#under.push({ bytes: object.body.length, noted })
  }

  /** Resolves when all are noted. */
  async finish(): Promise<void> {
    for (let first = this.#under.shift(); first; first = this.#under.shift()) await first.noted
  }

  /** Gives up what is under way. Resolves when none of it is any more. */
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
      // Something else lies under this name, and would do so at every attempt.
      key = successorKey(segment, object)
      await storeVerified(store, key, object, options)
    }
    await previous
    await probe?.('verified')
    await record(key, object)
    await probe?.('recorded')
  }
}
