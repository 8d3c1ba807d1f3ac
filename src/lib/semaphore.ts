/** Lets a fixed number of callers run at a time, in the order in which they asked. */
export class Semaphore {
  #free: number
  readonly #waiting = new Set<() => void>()

  constructor(permits: number) {
    this.#free = permits
  }

  /** Waits for a permit. Resolves with the function that releases it (idempotent), or undefined when the signal is aborted. */
  take(signal: AbortSignal): Promise<(() => void) | undefined> {
    if (signal.aborted) return Promise.resolve(undefined)
    const permit = this.takeNow()
    if (permit) return Promise.resolve(permit)
    return new Promise((resolve) => {
      const settle = (permit: (() => void) | undefined) => {
        this.#waiting.delete(next)
        signal.removeEventListener('abort', abort)
        resolve(permit)
      }
      const next = () => settle(this.#permit())
      const abort = () => settle(undefined)
      this.#waiting.add(next)
      signal.addEventListener('abort', abort, { once: true })
    })
  }

  /** Takes a permit without waiting; undefined when none is free. */
  takeNow(): (() => void) | undefined {
    if (this.#free === 0) return undefined
    this.#free -= 1
    return this.#permit()
  }

  #permit(): () => void {
    let isHeld = true
    return () => {
      if (!isHeld) return
      isHeld = false
      const [next] = this.#waiting
      if (next) next()
      else this.#free += 1
    }
  }
}
