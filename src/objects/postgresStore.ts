import pg from 'pg'
import { isUnavailable } from '../db/failure.ts'
import type { Db } from '../db/pool.ts'
import { Attempts, RETRY_POLICY, type RetryPolicy } from './attempts.ts'
import {
  type ObjectStore,
  ObjectStoreError,
  type ObjectStoreFault,
  type StoredObject,
} from './objectStore.ts'
import { createObject, deleteObject, listObjects, readObject } from './queries.ts'

/**
 * Bytes that one statement reads. By measurement larger reads are no faster, and each stays far below the pool's
 * time-out.
 */
const PIECE_BYTES = 1024 * 1024
const PAGE_KEYS = 1000

/**
 * Keeps objects in a table, for deployments without a bucket. The pool belongs to the caller, and outlives the store.
 */
export class PostgresStore implements ObjectStore {
  readonly name = 'postgres'
  readonly #db: Db
  readonly #attempts: Attempts

  constructor(db: Db, policy: RetryPolicy = RETRY_POLICY) {
    this.#db = db
    this.#attempts = new Attempts(policy, explain)
  }

  async putNew(key: string, body: Buffer, signal?: AbortSignal): Promise<'created' | 'exists'> {
    const isNew = await this.#attempts.run(`put ${key}`, signal, () => createObject(this.#db, key, body))
    return isNew ? 'created' : 'exists'
  }

  async get(key: string, signal?: AbortSignal): Promise<Buffer> {
    const first = await this.#read(key, 0, PIECE_BYTES, signal)
    const start = first.bytes.length
    return Buffer.concat([first.bytes, ...(await this.#pieces(key, start, first.total - start, signal))])
  }

  async getRange(key: string, offset: number, length: number, signal?: AbortSignal): Promise<Buffer> {
    return Buffer.concat(await this.#pieces(key, offset, length, signal))
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    await this.#attempts.run(`delete ${key}`, signal, () => deleteObject(this.#db, key))
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncIterable<StoredObject> {
    for (let after = ''; ; ) {
      const page = await this.#attempts.run(`list ${prefix}`, signal, () =>
        listObjects(this.#db, prefix, after, PAGE_KEYS),
      )
      yield* page
      const last = page.at(-1)
      if (last === undefined || page.length < PAGE_KEYS) return
      after = last.key
    }
  }

  async stop(): Promise<void> {
    this.#attempts.stop()
  }

  async #pieces(
    key: string,
    offset: number,
    length: number,
    signal: AbortSignal | undefined,
  ): Promise<Buffer[]> {
    const pieces: Buffer[] = []
    for (let at = offset; at < offset + length; at += PIECE_BYTES) {
      const wanted = Math.min(PIECE_BYTES, offset + length - at)
      const { bytes, total } = await this.#read(key, at, wanted, signal)
      if (bytes.length < wanted)
        throw new ObjectStoreError('damaged', `get ${key}: it has ${total} bytes, not ${offset + length}`)
      pieces.push(bytes)
    }
    return pieces
  }

  async #read(key: string, offset: number, length: number, signal: AbortSignal | undefined) {
    return this.#attempts.run(`get ${key}`, signal, async () => {
      const found = await readObject(this.#db, key, offset, length)
      if (found === undefined) throw new ObjectStoreError('missing', 'there is no such object')
      return found
    })
  }
}

const INSUFFICIENT_PRIVILEGE = '42501'
const AUTHENTICATION = '28'

function explain(error: unknown): ObjectStoreFault | undefined {
  if (error instanceof pg.DatabaseError) {
    const code = error.code ?? ''
    if (code === INSUFFICIENT_PRIVILEGE || code.startsWith(AUTHENTICATION)) return 'denied'
  }
  return isUnavailable(error) ? 'unavailable' : undefined
}
