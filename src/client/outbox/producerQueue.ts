import { StarciteError } from '../errors.ts'
import type { Appended } from '../types.ts'
import type { OutboxStore } from './store.ts'

/** A queued event, as the JSON text that is sent. */
export interface QueuedEvent {
  readonly event: string
  /** Its `producer_seq`, set at the first attempt and then kept, since the event may have been stored with it. */
  number: number | undefined
  /** Settles the promise of `send`; undefined for an event from the store. */
  readonly settle: { resolve(appended: Appended): void; reject(error: unknown): void } | undefined
  isSending: boolean
  /** The store has the event, in its position. */
  isSaved: boolean
  /** It was sent, and no response of the server shows the outcome. */
  mayBeStored: boolean
}

export const newQueuedEvent = (
  event: string,
  settle?: QueuedEvent['settle'],
  number?: number,
): QueuedEvent => ({
  event,
  number,
  settle,
  isSending: false,
  isSaved: settle === undefined,
  mayBeStored: number !== undefined,
})

interface Saved {
  readonly producer_id: string
  readonly next: number
  readonly pending: readonly (readonly [event: string, number: number | null])[]
  /** The numbers may have a gap; the server names the number that it expects. */
  readonly gap?: boolean
}

/** A producer and its unsent events, kept in a store under one key. */
export class ProducerQueue {
  readonly entries: QueuedEvent[]
  /** As far as this store knows, no event of this producer was stored. */
  isNew: boolean
  /** An event was removed whose number the server may have used. */
  hasGap: boolean
  #producerId: string
  #nextNumber: number
  readonly #store: OutboxStore
  readonly #key: string
  readonly #release: () => void
  #saving: Promise<void> = Promise.resolve()
  #nextSave: Promise<void> | undefined

  private constructor(saved: Saved, isNew: boolean, store: OutboxStore, key: string, release: () => void) {
    this.#producerId = saved.producer_id
    this.entries = saved.pending.map(([event, number]) =>
      newQueuedEvent(event, undefined, number ?? undefined),
    )
    this.isNew = isNew
    this.hasGap = saved.gap === true
    this.#nextNumber = saved.next
    this.#store = store
    this.#key = key
    this.#release = release
  }

  /**
   * Opens the queue under the key, or a new one. Resolves with the text under the key when no outbox has saved it. Rejects with
   * `store_failed`.
   */
  static async open(
    store: OutboxStore,
    key: string,
    producerId: () => string,
    release: () => void,
  ): Promise<ProducerQueue | string> {
    try {
      const text = await store.load(key)
      if (text !== undefined) {
        const saved = readSaved(text)
        if (saved !== undefined) return new ProducerQueue(saved, false, store, key, release)
        release()
        return text
      }
      return new ProducerQueue({ producer_id: producerId(), next: 1, pending: [] }, true, store, key, release)
    } catch (cause) {
      release()
      throw new StarciteError('store_failed', "the outbox's store could not be read", { cause })
    }
  }

  get producerId(): string {
    return this.#producerId
  }

  /** Numbers the first `count` events that have no number yet. */
  number(count: number): readonly QueuedEvent[] {
    const batch = this.entries.slice(0, count)
    for (const entry of batch) {
      if (entry.number !== undefined) continue
      entry.number = this.#nextNumber
      this.#nextNumber += 1
    }
    return batch
  }

  /**
   * Removes an event that will not be stored. A rejected event uses no number, so later ones move up. An event that may have been
   * stored leaves a gap until the server names the number that it expects.
   */
  remove(entry: QueuedEvent, { isRefused }: { isRefused: boolean }): void {
    const at = this.entries.indexOf(entry)
    this.entries.splice(at, 1)
    if (entry.number === undefined) return
    if (!isRefused && entry.mayBeStored) this.hasGap = true
    else this.#renumber(at, entry.number)
  }

  /** Renumbers from that event on: the server expects this number there, since earlier events were removed. */
  closeGap(entry: QueuedEvent, number: number): void {
    this.#renumber(this.entries.indexOf(entry), number)
    this.hasGap = false
  }

  /** Continues the queue under another producer id. */
  restartAs(producerId: string): void {
    this.#producerId = producerId
    this.isNew = true
    this.hasGap = false
    this.#nextNumber = 1
    for (const entry of this.entries) {
      entry.number = undefined
      entry.mayBeStored = false
    }
  }

  /**
   * Saves the queue. Resolves when its present state is in the store. One write at a time; calls during a write share the next
   * one. Rejects with `store_failed`.
   */
  save(): Promise<void> {
    this.#nextSave ??= this.#saving
      .catch(() => {})
      .then(async () => {
        this.#nextSave = undefined
        const entries = [...this.entries]
        await this.#store.save(this.#key, this.#text())
        for (const entry of entries) entry.isSaved = true
      })
      .catch((cause) => {
        throw new StarciteError('store_failed', "the outbox's store could not be written", { cause })
      })
    this.#saving = this.#nextSave
    return this.#nextSave
  }

  /** Waits for the last write, and releases the key. */
  async close(): Promise<void> {
    await this.#saving.catch(() => {})
    this.#release()
  }

  #renumber(at: number, number: number): void {
    this.#nextNumber = number
    for (const entry of this.entries.slice(at)) {
      if (entry.number === undefined) continue
      entry.number = this.#nextNumber
      this.#nextNumber += 1
    }
  }

  #text(): string {
    const saved: Saved = {
      producer_id: this.#producerId,
      next: this.#nextNumber,
      pending: this.entries.map(({ event, number }) => [event, number ?? null]),
      ...(this.hasGap && { gap: true }),
    }
    return JSON.stringify(saved)
  }
}

function readSaved(text: string): Saved | undefined {
  try {
    const saved = JSON.parse(text) as Saved
    const isNumber = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 1
    const isPending = (it: unknown) =>
      Array.isArray(it) && typeof it[0] === 'string' && (it[1] === null || isNumber(it[1]))
    const { producer_id, next, pending } = saved
    const isSaved = typeof producer_id === 'string' && producer_id !== '' && isNumber(next)
    return isSaved && Array.isArray(pending) && pending.every(isPending) ? saved : undefined
  } catch {
    return undefined
  }
}
