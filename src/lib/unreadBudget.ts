/** A reader that has unread data. */
interface Unread {
  readonly holder: Holder
  readonly bytes: number
  /** Disconnects the reader, which resumes by its cursor. */
  readonly cut: () => void
}

interface Holder {
  bytes: number
  /** Readers in the order in which they fell behind. */
  readonly waiting: Set<Unread>
}

/**
 * Bounds the data that was sent to many readers and not read yet. Above the bound it disconnects a reader: the one that fell
 * behind first, of the holder with the most unread data. So fast readers go on, and slow ones make room for each other.
 */
export class UnreadBudget {
  readonly maxBytes: number
  usedBytes = 0
  readonly #holders = new Map<unknown, Holder>()

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  /**
   * Adds a reader that has fallen behind. `cut` may be called before this returns. Call the returned function once the reader has
   * read everything, or is gone. `key` is compared as in a Map.
   */
  add(key: unknown, bytes: number, cut: () => void): () => void {
    const holder = this.#holders.get(key) ?? { bytes: 0, waiting: new Set() }
    this.#holders.set(key, holder)
    const unread: Unread = { holder, bytes, cut }
    holder.waiting.add(unread)
    holder.bytes += bytes
    this.usedBytes += bytes
    const remove = (it: Unread) => {
      if (!it.holder.waiting.delete(it)) return
      it.holder.bytes -= it.bytes
      this.usedBytes -= it.bytes
    }
    while (this.usedBytes > this.maxBytes) {
      const [longest] = this.#heaviest().waiting
      if (longest === undefined) break
      remove(longest)
      longest.cut()
    }
    return () => {
      remove(unread)
      if (holder.waiting.size === 0 && this.#holders.get(key) === holder) this.#holders.delete(key)
    }
  }

  #heaviest(): Holder {
    let heaviest: Holder = { bytes: 0, waiting: new Set() }
    for (const holder of this.#holders.values()) if (holder.bytes > heaviest.bytes) heaviest = holder
    return heaviest
  }
}
