/**
 * Where cold storage keeps its objects: some megabytes each, written once, never changed. Keys are paths of 1 to 900
 * bytes, without control characters; the store puts them under a prefix of its own.
 *
 * Every call is bounded in time and tries a few times before it fails with `ObjectStoreError`. An aborted call rejects
 * at once with the signal's reason. `test/support/objectStoreContract.ts` holds every implementation to this.
 */
export interface ObjectStore {
  readonly name: 's3' | 'postgres'

  /**
   * Create-only. 'exists' when there is an object of that key already, whatever its content; it may also be this very
   * call's own write, whose answer was lost before the call tried again. So whoever is told 'exists' compares.
   */
  putNew(key: string, body: Buffer, signal?: AbortSignal): Promise<'created' | 'exists'>

  /** The whole object. Its bytes are as they came: telling a flipped bit is up to the caller's checksum. */
  get(key: string, signal?: AbortSignal): Promise<Buffer>

  /** Exactly `length` bytes (at least one) from `offset`; an object that ends before them is 'damaged'. */
  getRange(key: string, offset: number, length: number, signal?: AbortSignal): Promise<Buffer>

  /** Also when there is no such object. */
  delete(key: string, signal?: AbortSignal): Promise<void>

  /** Every object whose key begins with `prefix`, in no promised order; those that come or go meanwhile, perhaps. */
  list(prefix: string, signal?: AbortSignal): AsyncIterable<StoredObject>

  /** Calls under way, and later ones, reject as 'unavailable'. */
  stop(): Promise<void>
}

export interface StoredObject {
  readonly key: string
  readonly bytes: number
}

export type ObjectStoreFault =
  /** There is no object of that key. */
  | 'missing'
  /** The store refuses: credentials, permissions, no such bucket, wrong region. Somebody has to act. */
  | 'denied'
  /** The store is away, slow or overloaded; later is worth a try. */
  | 'unavailable'
  /** Fewer or more bytes than there should be. */
  | 'damaged'

export class ObjectStoreError extends Error {
  override readonly name = 'ObjectStoreError'
  readonly kind: ObjectStoreFault

  constructor(kind: ObjectStoreFault, message: string, options?: ErrorOptions) {
    super(message, options)
    this.kind = kind
  }
}

/** An object in the store is not what was written, or not what the manifest says. */
export class DamagedObjectError extends Error {
  override readonly name = 'DamagedObjectError'
}
