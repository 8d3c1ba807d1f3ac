/** What one holder has of a budget, for one thing; closed when that is over. */
export interface Account {
  readonly bytes: number
  /** From now on it holds so many bytes. False, and it holds none, when there is no memory for them. */
  resize(bytes: number): boolean
  close(): void
}

/**
 * A bound for memory of many things of one kind. A holder gets at most half of what others leave, so that one alone does not
 * take it from all others, nor do a few together: what is left is halved by each. What is alone is let in, however large: the
 * only one of its holder past the half, the only one at all past the whole.
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
