import { claimByWebLock, type OutboxStore } from './store.ts'

/** The part of IndexedDB that is used, declared here so that the file compiles without the DOM's types. */
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
  readonly version: number
  readonly objectStoreNames: { contains(name: string): boolean }
  onversionchange: (() => void) | null
  onclose: (() => void) | null
  createObjectStore(name: string): unknown
  transaction(name: string, mode: 'readonly' | 'readwrite'): Transaction
  close(): void
}
interface Factory {
  open(name: string, version?: number): Request<Database> & { onupgradeneeded: (() => void) | null }
}

const OBJECT_STORE = 'outbox'

/** A store in the browser's IndexedDB. It works in workers too, and holds more than localStorage. */
export function indexedDbStore(name = 'starcite'): OutboxStore {
  let opening: Promise<Database> | undefined
  const database = () => {
    opening ??= open(name, () => {
      opening = undefined
    }).catch((error) => {
      opening = undefined
      throw error
    })
    return opening
  }
  return {
    load: async (key) => {
      const transaction = (await database()).transaction(OBJECT_STORE, 'readonly')
      return (await done(transaction.objectStore(OBJECT_STORE).get(key))) as string | undefined
    },
    save: async (key, text) => {
      const transaction = (await database()).transaction(OBJECT_STORE, 'readwrite')
      transaction.objectStore(OBJECT_STORE).put(text, key)
      await new Promise<void>((resolve, reject) => {
        transaction.oncomplete = () => resolve()
        transaction.onabort = () => reject(transaction.error) // for example because the disk is full
      })
    },
    ...claimByWebLock(),
  }
}

/**
 * Opens the database in the version that it has. If other code has created it without the outbox's object store, the next
 * version adds that. `onClosed` is called when the browser, or an upgrade by another page, closes the connection.
 */
async function open(name: string, onClosed: () => void, version?: number): Promise<Database> {
  const { indexedDB } = globalThis as unknown as { indexedDB: Factory }
  const request = indexedDB.open(name, version)
  request.onupgradeneeded = () => {
    if (!request.result.objectStoreNames.contains(OBJECT_STORE))
      request.result.createObjectStore(OBJECT_STORE)
  }
  const database = await done(request)
  database.onclose = onClosed
  database.onversionchange = () => {
    database.close()
    onClosed()
  }
  if (database.objectStoreNames.contains(OBJECT_STORE)) return database
  database.close()
  return open(name, onClosed, database.version + 1)
}

function done<T>(request: Request<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}
