import { pause } from './backoff.ts'
import { LinkedAbort } from './linkedAbort.ts'

export interface IdlenessOptions {
  /** 0: never idle. */
  readonly afterMs: number
  /** How often an idle node does its periodic work all the same. */
  readonly checkMs: number
}

/** How often a node that has something open or due looks whether it still has. */
const BUSY_MS = 1000

/**
 * Whether anybody wants anything of this node. awake → (no request for a while, and nothing open or due) → idle → (a
 * request) → awake. While it is idle, periodic work waits, so that a database that is suspended when it has no work can be.
 */
export class Idleness {
  readonly #options: IdlenessOptions
  readonly #whenIdle = new Set<() => void>()
  readonly #whenAwake = new Set<() => void>()
  #isBusy: () => boolean = () => true
  #requests = 0
  #lastRequestAt = performance.now()
  #isIdle = false
  #timer: NodeJS.Timeout | undefined

  constructor(options: IdlenessOptions) {
    this.#options = options
  }

  get isIdle(): boolean {
    return this.#isIdle
  }

  /** Of performance.now(), when somebody last asked for something. */
  get lastRequestAt(): number {
    return this.#requests > 0 ? performance.now() : this.#lastRequestAt
  }

  /** `isBusy` says whether something is open or due. */
  start(isBusy: () => boolean): void {
    this.#isBusy = isBusy
    if (this.#options.afterMs > 0) this.#lookIn(this.#options.afterMs)
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#wake()
  }

  /** A request begins; it is over when the answer is called. */
  request(): () => void {
    this.#requests += 1
    this.#wake()
    return () => {
      this.#requests -= 1
      this.#lastRequestAt = performance.now()
    }
  }

  /** Calls `act` whenever the node becomes idle. */
  onIdle(act: () => void): void {
    this.#whenIdle.add(act)
  }

  /** Resolves at once unless the node is idle; else when it is not any more, or the signal is aborted. */
  async awake(signal: AbortSignal): Promise<void> {
    await this.#wait(Number.POSITIVE_INFINITY, signal)
  }

  /** The same for work that is to be done now and then: resolves at the latest after the time between two checks. */
  async awakeOrDue(signal: AbortSignal): Promise<void> {
    await this.#wait(this.#options.checkMs, signal)
  }

  async #wait(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#isIdle || signal.aborted) return
    const over = new LinkedAbort([signal])
    const end = () => over.abort()
    this.#whenAwake.add(end)
    if (ms === Number.POSITIVE_INFINITY) await over.rejection().catch(() => {})
    else await pause(ms, over.signal)
    over.release()
    this.#whenAwake.delete(end)
  }

  #wake(): void {
    if (!this.#isIdle) return
    this.#isIdle = false
    for (const act of [...this.#whenAwake]) act()
    this.#lookIn(this.#options.afterMs)
  }

  #lookIn(ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#look(), ms)
    this.#timer.unref()
  }

  #look(): void {
    const { afterMs } = this.#options
    const restMs = this.lastRequestAt + afterMs - performance.now()
    if (restMs > 0) this.#lookIn(restMs)
    else if (this.#isBusy()) this.#lookIn(Math.min(afterMs, BUSY_MS))
    else {
      this.#isIdle = true
      for (const act of this.#whenIdle) act()
    }
  }
}

/** For parts that work on whether or not anybody asks. */
export const NEVER_IDLE = new Idleness({ afterMs: 0, checkMs: 0 })
