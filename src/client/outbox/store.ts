/**
 * Stores the pending events of an outbox, and the last number of its producer. Keys have fewer than 1,000 characters. `load`
 * must return the value that was saved last, also in a later page or process.
 */
export interface OutboxStore {
  load(key: string): Promise<string | undefined>
  save(key: string, text: string): Promise<void>
  /**
   * Claims the key for this outbox. Resolves with the function that releases it, as the end of the page or process does, or with
   * undefined when another outbox has it. Without this member only one outbox of a session at a time may use the store.
   */
  claim?(key: string): Promise<(() => void) | undefined>
}

/** A store in memory. Retries are safe; a reload loses the events that were not acknowledged. */
export function memoryStore(): OutboxStore {
  const texts = new Map<string, string>()
  return {
    load: async (key) => texts.get(key),
    save: async (key, text) => void texts.set(key, text),
  }
}

interface WebStorage {
  getItem(key: string): string | null
  setItem(key: string, value: string): void
}

/** A store in the browser's localStorage, or another Web Storage. It has some megabytes for the whole origin. */
export function localStorageStore(
  storage: WebStorage = (globalThis as unknown as { localStorage: WebStorage }).localStorage,
): OutboxStore {
  return {
    load: async (key) => storage.getItem(key) ?? undefined,
    save: async (key, text) => storage.setItem(key, text),
    ...claimByWebLock(),
  }
}

interface LockManager {
  request(
    name: string,
    options: { ifAvailable: boolean },
    callback: (lock: unknown) => Promise<void>,
  ): Promise<unknown>
}

/** Claims keys by Web Locks among the tabs and workers of an origin, where the browser has them (on https or localhost). */
export function claimByWebLock(): Pick<OutboxStore, 'claim'> {
  const { locks } = (globalThis as { navigator?: { locks?: LockManager } }).navigator ?? {}
  if (locks === undefined) return {}
  return {
    claim: (key) =>
      new Promise((resolve, reject) => {
        const held = (lock: unknown) =>
          new Promise<void>((release) => {
            resolve(lock === null ? undefined : release)
            if (lock === null) release()
          })
        locks.request(key, { ifAvailable: true }, held).catch(reject)
      }),
  }
}
