import { byWebLocks, type OutboxStore } from './store.ts'

/** What is used of IndexedDB, so that this compiles where there is no DOM. */
interface Request<T> {
  result: T
  error: unknown
  onsuccess: (() => void) | null
  onerror: (() => void) | null
}
interface ObjectStore {
  get(key: string): Request<unknown>
  put(value: unknown, key: string): Request<unknown>
}
interface Transaction {
  error: unknown
  oncomplete: (() => void) | null
  onabort: (() => void) | null
  objectStore(name: string): ObjectStore
}
interface Database {
  createObjectStore(name: string): unknown
  transaction(name: string, mode: 'readonly' | 'readwrite'): Transaction
}
interface Factory {
  open(name: string, version: number): Request<Database> & { onupgradeneeded: (() => void) | null }
}

const TABLE = 'outbox'

/** In the browser's IndexedDB: also in workers, and with more room than localStorage. */
export function indexedDbStore(name = 'starcite'): OutboxStore {
  const { indexedDB } = globalThis as unknown as { indexedDB: Factory }
  let opening: Promise<Database> | undefined
  const database = () => {
    opening ??= open(indexedDB, name).catch((error) => {
      opening = undefined
      throw error
    })
    return opening
  }
  return {
    load: async (key) => {
      const transaction = (await database()).transaction(TABLE, 'readonly')
      return (await done(transaction.objectStore(TABLE).get(key))) as string | undefined
    },
    save: async (key, text) => {
      const transaction = (await database()).transaction(TABLE, 'readwrite')
      transaction.objectStore(TABLE).put(text, key)
      await new Promise<void>((resolve, reject) => {
        transaction.oncomplete = () => resolve()
        transaction.onabort = () => reject(transaction.error) // of which a full disk is one
      })
    },
    ...byWebLocks(),
  }
}

function open(factory: Factory, name: string): Promise<Database> {
  const request = factory.open(name, 1)
  request.onupgradeneeded = () => void request.result.createObjectStore(TABLE)
  return done(request)
}

function done<T>(request: Request<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}
