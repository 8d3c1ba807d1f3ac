/**
 * Where an outbox keeps what is not acknowledged yet, and how far its producer has counted. Keys are text of less than
 * 1,000 characters. What was saved must be what is loaded next, also by a later page or process.
 */
export interface OutboxStore {
  load(key: string): Promise<string | undefined>
  save(key: string, text: string): Promise<void>
  /**
   * Makes the key this outbox's own until it is let go, by the call that comes back or by the end of the page or
   * process; undefined when another has it. Without this member only one outbox of a session at a time may use the store.
   */
  claim?(key: string): Promise<(() => void) | undefined>
}

/** Forgets everything with the page or process: retries are safe, reloads lose what was not acknowledged. */
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

/** In the browser's localStorage, or another of its kind. Some megabytes for the whole origin. */
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

/** Tabs and workers of an origin tell each other apart by Web Locks, where there are (they need https or localhost). */
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
