/** Begins with what ends the turn; false when it is no longer wanted. */
type Begin = (end: () => void) => boolean

/**
 * So many at a time, and while more want a turn, each key in its turn: who asks for a thousand delays another one by one
 * turn, not by a thousand. Keys are told apart as those of a Map.
 */
export class FairTurns {
  #free: number
  /** By key, in the order in which keys are served. */
  readonly #waiting = new Map<unknown, Begin[]>()

  constructor(atATime: number) {
    this.#free = atATime
  }

  /** Resolves with what ends the turn, once it has come; with undefined when the signal is aborted before. */
  take(key: unknown, signal: AbortSignal): Promise<(() => void) | undefined> {
    if (signal.aborted) return Promise.resolve(undefined)
    if (this.#free > 0) return Promise.resolve(this.#begin())
    return new Promise((resolve) => {
      const leave = () => resolve(undefined)
      const begin = (end: () => void) => {
        signal.removeEventListener('abort', leave)
        resolve(end)
        return !signal.aborted
      }
      signal.addEventListener('abort', leave, { once: true })
      const own = this.#waiting.get(key)
      if (own) own.push(begin)
      else this.#waiting.set(key, [begin])
    })
  }

  #begin(): () => void {
    this.#free -= 1
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      this.#free += 1
      this.#next()
    }
  }

  /** Those that are no longer wanted are passed over when their turn comes. */
  #next(): void {
    while (this.#free > 0) {
      const [first] = this.#waiting
      if (first === undefined) return
      const [key, own] = first
      this.#waiting.delete(key)
      const begin = own.shift()
      if (own.length > 0) this.#waiting.set(key, own) // behind all others
      const end = this.#begin()
      if (begin && !begin(end)) end()
    }
  }
}
