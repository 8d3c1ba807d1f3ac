/** Begins a turn; returns false when the caller no longer wants it. */
type Begin = (end: () => void) => boolean

/**
 * A semaphore that serves keys in rotation: a caller that asks for a thousand turns delays each other key by one turn, not by a
 * thousand. Keys are compared as in a Map.
 */
export class FairTurns {
  #free: number
  /** The waiting callers by key, in the order in which keys are served. */
  readonly #waiting = new Map<unknown, Begin[]>()

  constructor(atATime: number) {
    this.#free = atATime
  }

  /** Waits for a turn. Resolves with the function that ends it, or with undefined when the signal is aborted first. */
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

  /** Skips callers whose signal was aborted while they waited. */
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
