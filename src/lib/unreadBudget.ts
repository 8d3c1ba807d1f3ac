/** A reader that is waited for. */
interface Unread {
  readonly holder: Holder
  readonly bytes: number
  /** Ends the reader, who comes back where it was. */
  readonly cut: () => void
}

interface Holder {
  bytes: number
  /** In the order in which they began to be waited for. */
  readonly waiting: Set<Unread>
}

/**
 * A bound for what many readers were sent and have not taken. Past it a reader is cut: of the holder who has most, the one
 * that has been waited for longest. So those who read go on, and those who do not make room for each other.
 */
export class UnreadBudget {
  readonly maxBytes: number
  usedBytes = 0
  readonly #holders = new Map<unknown, Holder>()

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  /**
   * A reader begins to be waited for; `cut` may be called before this answers. Call what is answered once the reader has
   * taken everything, or is gone. `key` is compared as that of a Map.
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
