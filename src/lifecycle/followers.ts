import { createHash } from 'node:crypto'

/** What notifications call the feed of a tenant; sql/feed_key.sql is the same. */
export const feedKey = (tenantId: string): string =>
  createHash('sha256').update(tenantId).digest('hex').slice(0, 16)

/** One reader's hold on the feed of its tenant. */
export class Follower {
  readonly tenantId: string
  /** The place that it has come to. */
  place: number
  #isWoken = true // it reads once before it waits
  #wake: (() => void) | undefined

  constructor(tenantId: string, place: number) {
    this.tenantId = tenantId
    this.place = place
  }

  wake(): void {
    this.#isWoken = true
    this.#wake?.()
  }

  /** Resolves when the feed may have grown since this resolved last, or the signal is aborted. */
  async woken(signal: AbortSignal): Promise<void> {
    if (!this.#isWoken && !signal.aborted)
      await new Promise<void>((resolve) => {
        const done = () => {
          signal.removeEventListener('abort', done)
          this.#wake = undefined
          resolve()
        }
        this.#wake = done
        signal.addEventListener('abort', done, { once: true })
      })
    this.#isWoken = false
  }
}

/** Those who follow feeds on this node. */
export class Followers {
  readonly #byKey = new Map<string, Set<Follower>>()

  add(follower: Follower): () => void {
    const key = feedKey(follower.tenantId)
    const those = this.#byKey.get(key) ?? new Set()
    this.#byKey.set(key, those.add(follower))
    return () => {
      those.delete(follower)
      if (those.size === 0 && this.#byKey.get(key) === those) this.#byKey.delete(key)
    }
  }

  get size(): number {
    let size = 0
    for (const those of this.#byKey.values()) size += those.size
    return size
  }

  get keys(): string[] {
    return [...this.#byKey.keys()]
  }

  get tenantIds(): string[] {
    return [...this.#byKey.values()].flatMap((those) => [...those].slice(0, 1).map((it) => it.tenantId))
  }

  /** Wakes those of the feeds, or of the one, that are not at its end. */
  wake(key: string, end = Number.POSITIVE_INFINITY): void {
    for (const follower of this.#byKey.get(key) ?? []) if (follower.place < end) follower.wake()
  }
}
