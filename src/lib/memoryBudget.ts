/** The share of a budget that one holder has for one thing. Close it when the thing is over. */
export interface Account {
  readonly bytes: number
  /** Sets the size. When the budget has no room for it, returns false and sets the size to 0. */
  resize(bytes: number): boolean
  close(): void
}

/**
 * Bounds the memory of many things of one kind. A holder gets at most half of what the others leave, so neither one holder nor a
 * few together can take all of it. A single thing is accepted regardless of its size: a holder's only one above the half, the only
 * one of all above the whole.
 */
export class MemoryBudget {
  readonly maxBytes: number
  usedBytes = 0
  readonly #byHolder = new Map<unknown, number>()

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  /** `holder` is compared as the key of a Map. */
  open(holder: unknown): Account {
    let bytes = 0
    const hold = (wanted: number) => {
      const held = (this.#byHolder.get(holder) ?? 0) + wanted - bytes
      this.usedBytes += wanted - bytes
      bytes = wanted
      if (held > 0) this.#byHolder.set(holder, held)
      else this.#byHolder.delete(holder)
      return held
    }
    return {
      get bytes() {
        return bytes
      },
      resize: (wanted) => {
        const held = hold(wanted)
        const isInBudget = this.usedBytes <= this.maxBytes || this.usedBytes === wanted
        const others = this.usedBytes - held
        const isInShare = held <= (this.maxBytes - others) / 2 || held === wanted
        if (isInBudget && isInShare) return true
        hold(0)
        return false
      },
      close: () => void hold(0),
    }
  }
}
