/**
 * Where cold storage keeps its objects: some megabytes each, written once, never changed. Keys are paths of 1 to 900
 * bytes, without control characters; the store puts them under a prefix of its own.
 *
 * Every call has a time-out and is tried a few times before it fails with an `ObjectStoreError`. An aborted call
 * rejects at once with the signal's reason. `test/support/objectStoreContract.ts` tests every implementation.
 */
export interface ObjectStore {
  readonly name: 's3' | 'postgres'

  /**
   * Creates an object. 'exists' when there is an object of that key already, with any content; it may also be
   * this call's own write, whose response was lost before the call tried again. So the caller compares the content
   * after 'exists'.
   */
  putNew(key: string, body: Buffer, signal?: AbortSignal): Promise<'created' | 'exists'>

  /** Reads the whole object. The caller verifies its bytes with a checksum. */
  get(key: string, signal?: AbortSignal): Promise<Buffer>

  /** Reads exactly `length` bytes (at least one) from `offset`; an object that ends before them is 'damaged'. */
  getRange(key: string, offset: number, length: number, signal?: AbortSignal): Promise<Buffer>

  /** Deletes the object; succeeds also when it does not exist. */
  delete(key: string, signal?: AbortSignal): Promise<void>

  /**
   * Lists every object whose key begins with `prefix`, in no promised order. Objects that are created or deleted
   * meanwhile may be missing or included.
   */
  list(prefix: string, signal?: AbortSignal): AsyncIterable<StoredObject>

  /** Stops the store: calls in progress, and later ones, reject as 'unavailable'. */
  stop(): Promise<void>
}

export interface StoredObject {
  readonly key: string
  readonly bytes: number
}

export type ObjectStoreFault =
  /** There is no object of that key. */
  | 'missing'
  /** The store refuses: credentials, permissions, no such bucket, wrong region. An operator has to act. */
  | 'denied'
  /** The store is unreachable, slow or overloaded; retry later. */
  | 'unavailable'
  /** Fewer or more bytes than expected. */
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
