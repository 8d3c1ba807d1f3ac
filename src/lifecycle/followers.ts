import { createHash } from 'node:crypto'

/** The key by which notifications name the feed of a tenant; sql/feed_key.sql computes the same. */
export const feedKey = (secret: Buffer, tenantId: string): string =>
  createHash('sha256').update(secret).update(tenantId).digest('hex').slice(0, 16)

/** One follower of the feed of its tenant. */
export class Follower {
  readonly tenantId: string
  /** The place up to which it has read. */
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
  readonly #byTenant = new Map<string, Set<Follower>>()
  readonly #tenantByKey = new Map<string, string>()
  /** Of the installation. Until it is known, a hint may be about any tenant. */
  #secret: Buffer | undefined

  add(follower: Follower): () => void {
    const { tenantId } = follower
    const those = this.#byTenant.get(tenantId) ?? new Set()
    this.#byTenant.set(tenantId, those.add(follower))
    this.#name(tenantId)
    return () => {
      those.delete(follower)
      if (those.size > 0 || this.#byTenant.get(tenantId) !== those) return
      this.#byTenant.delete(tenantId)
      if (this.#secret) this.#tenantByKey.delete(feedKey(this.#secret, tenantId))
    }
  }

  get knowsSecret(): boolean {
    return this.#secret !== undefined
  }

  set secret(secret: Buffer) {
    this.#secret = secret
    for (const tenantId of this.#byTenant.keys()) this.#name(tenantId)
  }

  #name(tenantId: string): void {
    if (this.#secret) this.#tenantByKey.set(feedKey(this.#secret, tenantId), tenantId)
  }

  get size(): number {
    let size = 0
    for (const those of this.#byTenant.values()) size += those.size
    return size
  }

  get tenantIds(): string[] {
    return [...this.#byTenant.keys()]
  }

  /** Wakes the followers of the feed with this key. */
  hint(key: string): void {
    if (this.#secret === undefined) for (const tenantId of this.tenantIds) this.wake(tenantId)
    const tenantId = this.#tenantByKey.get(key)
    if (tenantId !== undefined) this.wake(tenantId)
  }

  /** Wakes the followers of the tenant's feed, or only those that are not at `end` yet. */
  wake(tenantId: string, end = Number.POSITIVE_INFINITY): void {
    for (const follower of this.#byTenant.get(tenantId) ?? []) if (follower.place < end) follower.wake()
  }
}
