/** So many at a time; whoever asked first goes first. */
export class Semaphore {
  #free: number
  readonly #waiting = new Set<() => void>()

  constructor(permits: number) {
    this.#free = permits
  }

  /** Resolves with what gives the permit back, which may be called more than once; undefined when the signal is aborted. */
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

  /** The same without waiting; undefined when there is none to be had. */
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
