import { pause } from './backoff.ts'
import { LinkedAbort } from './linkedAbort.ts'

export interface IdlenessOptions {
  /** 0 turns idling off. */
  readonly afterMs: number
  /** How often an idle node still does its periodic work. */
  readonly checkMs: number
}

/** How often a node with open or due work checks whether it still has some. */
const BUSY_MS = 1000

/**
 * Tells whether the node is in use: awake → (no request for a while, and no open or due work) → idle → (a request) → awake.
 * While the node is idle, periodic work waits, so that a serverless database can suspend.
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

  /** When the last request ended, by performance.now(); now while one is open. */
  get lastRequestAt(): number {
    return this.#requests > 0 ? performance.now() : this.#lastRequestAt
  }

  /** Begins to watch. `isBusy` says whether there is open or due work. */
  start(isBusy: () => boolean): void {
    this.#isBusy = isBusy
    if (this.#options.afterMs > 0) this.#lookIn(this.#options.afterMs)
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#wake()
  }

  /** Records that a request begins. The function that it returns records its end. */
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

  /** Resolves when the node is awake, or the signal is aborted. */
  async awake(signal: AbortSignal): Promise<void> {
    await this.#wait(Number.POSITIVE_INFINITY, signal)
  }

  /** The same for work that an idle node does now and then: resolves after `checkMs` at the latest. */
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

/** For parts that never idle. */
export const NEVER_IDLE = new Idleness({ afterMs: 0, checkMs: 0 })
