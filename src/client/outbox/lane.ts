import { StarciteError } from '../errors.ts'
import type { Appended } from '../types.ts'
import type { OutboxStore } from './store.ts'

/** An event that waits, as the JSON text that is sent. */
export interface Entry {
  readonly event: string
  /** Its `producer_seq`, from the first try on. It may have been stored under it, so it is kept. */
  number: number | undefined
  /** Whoever waits for it; nobody when it comes from a store. */
  readonly settle: { resolve(appended: Appended): void; reject(error: unknown): void } | undefined
}

interface Saved {
  readonly producer_id: string
  readonly next: number
  readonly pending: readonly (readonly [event: string, number: number | null])[]
}

/** A producer and what it has still to send, kept in a store under one key. */
export class Lane {
  readonly producerId: string
  readonly entries: Entry[]
  /** Whether no event of this producer can be stored, as far as is known here. */
  isNew: boolean
  #nextNumber: number
  readonly #store: OutboxStore
  readonly #key: string
  readonly #letGo: () => void
  #saving: Promise<void> = Promise.resolve()
  #nextSave: Promise<void> | undefined

  private constructor(saved: Saved, isNew: boolean, store: OutboxStore, key: string, letGo: () => void) {
    this.producerId = saved.producer_id
    this.entries = saved.pending.map(([event, number]) => ({
      event,
      number: number ?? undefined,
      settle: undefined,
    }))
    this.isNew = isNew
    this.#nextNumber = saved.next
    this.#store = store
    this.#key = key
    this.#letGo = letGo
  }

  /** What the key holds, or else a new producer. Rejects with `store_failed`. */
  static async open(
    store: OutboxStore,
    key: string,
    producerId: () => string,
    letGo: () => void,
  ): Promise<Lane> {
    try {
      const text = await store.load(key)
      const saved = text === undefined ? undefined : (JSON.parse(text) as Saved)
      const fresh: Saved = { producer_id: producerId(), next: 1, pending: [] }
      return new Lane(saved ?? fresh, saved === undefined, store, key, letGo)
    } catch (cause) {
      letGo()
      throw new StarciteError('store_failed', "the outbox's store could not be read", { cause })
    }
  }

  /** Numbers the first `count` events that have no number yet. */
  number(count: number): readonly Entry[] {
    const batch = this.entries.slice(0, count)
    for (const entry of batch) {
      if (entry.number !== undefined) continue
      entry.number = this.#nextNumber
      this.#nextNumber += 1
    }
    return batch
  }

  /** Takes out an event that the server refused. A refusal uses up no number, so the later ones move up. */
  takeOut(entry: Entry): void {
    const at = this.entries.indexOf(entry)
    this.entries.splice(at, 1)
    this.#nextNumber -= 1
    for (const later of this.entries.slice(at)) if (later.number !== undefined) later.number -= 1
  }

  /**
   * Resolves when what is there now is in the store. One write at a time; those who ask meanwhile share the next. Rejects
   * with `store_failed`.
   */
  save(): Promise<void> {
    this.#nextSave ??= this.#saving
      .catch(() => {})
      .then(() => {
        this.#nextSave = undefined
        return this.#store.save(this.#key, this.#text())
      })
      .catch((cause) => {
        throw new StarciteError('store_failed', "the outbox's store could not be written", { cause })
      })
    this.#saving = this.#nextSave
    return this.#nextSave
  }

  /** Waits for the last write, and lets the key go. */
  async close(): Promise<void> {
    await this.#saving.catch(() => {})
    this.#letGo()
  }

  #text(): string {
    const saved: Saved = {
      producer_id: this.producerId,
      next: this.#nextNumber,
      pending: this.entries.map(({ event, number }) => [event, number ?? null]),
    }
    return JSON.stringify(saved)
  }
}
