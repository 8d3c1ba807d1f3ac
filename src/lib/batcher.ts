import { endOfTurn } from './endOfTurn.ts'

export interface BatcherOptions<In, Out> {
  /** Handles a batch and answers item by item, in order. A rejection rejects every item of the batch. */
  readonly send: (batch: readonly In[]) => Promise<readonly Outcome<Out>[]>
  /** Items of one key are sent in the order in which they came, and are never in two batches under way. */
  readonly keyOf: (item: In) => string
  /** The weight of an item, which counts against the bounds. */
  readonly weigh: (item: In) => Weight
  /** A batch stops growing at either bound. An item above them is sent alone. */
  readonly maxBatch: Weight
  /** Above either bound `add` rejects. */
  readonly maxWaiting: Weight
  /** The maximum number of batches under way. A second one leaves only when it is full, or the first is stuck. */
  readonly maxUnderWay: number
  /** After this time a batch under way counts as stuck: waiting items may leave beside it, however few. */
  readonly stuckMs: number
  /** The error of an item that `add` rejects, at a bound or after `stop`. */
  readonly refuse: (why: 'full' | 'stopped') => Error
  /** The longest that an item waits. Unsent items are withdrawn then; sent ones are rejected without their outcome. */
  readonly deadline?: { readonly ms: number; readonly refuse: (wasSent: boolean) => Error }
}

export interface Weight {
  readonly count: number
  readonly bytes: number
}

export type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: Error }

interface Waiting<In, Out> {
  readonly item: In
  readonly line: Line<In, Out>
  readonly weight: Weight
  readonly since: number
  resolve(value: Out): void
  reject(error: Error): void
}

/** The waiting items of one key, in order of arrival, and whether a batch under way has items of it. */
interface Line<In, Out> {
  readonly key: string
  readonly waiting: Waiting<In, Out>[]
  underWay: boolean
}

/**
 * Gathers items into batches by self-clocking. With no batch under way, items leave at the end of this turn of the event loop;
 * with one under way, items that arrive form the next batch. So a single item does not wait, and many items share one round
 * trip. Another batch leaves beside one under way when a full one is waiting, or when the one under way is stuck.
 *
 * A line, the items of one key, is idle (it has no items, and is forgotten) → ready (its items may leave) → under way (in a
 * batch; new items wait) → ready or idle.
 */
export class Batcher<In, Out> {
  readonly #options: BatcherOptions<In, Out>
  readonly #lines = new Map<string, Line<In, Out>>()
  /** Lines in the order in which they became ready. */
  readonly #ready = new Set<Line<In, Out>>()
  /** Items accepted and not yet settled, in order of arrival. */
  readonly #unsettled = new Set<Waiting<In, Out>>()
  readonly #underWay = new Set<{ readonly sentAt: number }>()
  readonly #whenAtRest = new Set<() => void>()
  /** The number of items accepted and not yet handled. */
  #count = 0
  #bytes = 0
  /** The number of items that could leave now. */
  #readyCount = 0
  #readyBytes = 0
  #turnEnds = false
  #stuck: NodeJS.Timeout | undefined
  #deadlineTimer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(options: BatcherOptions<In, Out>) {
    this.#options = options
  }

  /** The weight of the items that wait or are under way. */
  get waiting(): Weight {
    return { count: this.#count, bytes: this.#bytes }
  }

  /** Adds an item. Resolves with its outcome. */
  add(item: In): Promise<Out> {
    if (this.#stopped) return Promise.reject(this.#options.refuse('stopped'))
    const weight = this.#options.weigh(item)
    const { maxWaiting, keyOf } = this.#options
    const full =
      this.#count + weight.count > maxWaiting.count || this.#bytes + weight.bytes > maxWaiting.bytes
    // One item is always accepted, so that an item heavier than the bound is slow, not impossible.
    if (full && this.#count > 0) return Promise.reject(this.#options.refuse('full'))
    return new Promise((resolve, reject) => {
      const line = this.#lineOf(keyOf(item))
      const it = { item, line, weight, since: performance.now(), resolve, reject }
      line.waiting.push(it)
      this.#unsettled.add(it)
      this.#count += weight.count
      this.#bytes += weight.bytes
      if (!line.underWay) this.#makeReady(line, it)
      this.#watchDeadline()
      this.#sendAtEndOfTurn()
    })
  }

  /** Rejects new items, and waits for those that were accepted. */
  async stop(): Promise<void> {
    this.#stopped = true
    if (this.#count > 0) await new Promise<void>((resolve) => this.#whenAtRest.add(resolve))
  }

  #lineOf(key: string): Line<In, Out> {
    let line = this.#lines.get(key)
    if (line === undefined) {
      line = { key, waiting: [], underWay: false }
      this.#lines.set(key, line)
    }
    return line
  }

  #makeReady(line: Line<In, Out>, ...items: readonly Waiting<In, Out>[]): void {
    this.#ready.add(line)
    for (const { weight } of items) {
      this.#readyCount += weight.count
      this.#readyBytes += weight.bytes
    }
  }

  /** Sends at the end of this turn, so that items of the rest of the turn join the batch. */
  #sendAtEndOfTurn(): void {
    if (this.#turnEnds || !this.#mayLeave()) return
    this.#turnEnds = true
    setImmediate(() => {
      this.#turnEnds = false
      this.#sendReady()
    })
  }

  #sendReady(): void {
    while (this.#mayLeave()) void this.#send(this.#take())
  }

  #mayLeave(): boolean {
    if (this.#ready.size === 0) return false
    if (this.#underWay.size === 0) return true
    const { maxUnderWay, maxBatch, stuckMs } = this.#options
    if (this.#underWay.size >= maxUnderWay) return false
    if (this.#readyCount >= maxBatch.count || this.#readyBytes >= maxBatch.bytes) return true
    const now = performance.now()
    for (const { sentAt } of this.#underWay) if (now - sentAt < stuckMs) return false
    return true
  }

  #take(): Waiting<In, Out>[] {
    const { maxBatch } = this.#options
    const batch: Waiting<In, Out>[] = []
    let [count, bytes] = [0, 0]
    for (const line of this.#ready) {
      let taken = 0
      for (const { weight } of line.waiting) {
        const isFull = count + weight.count > maxBatch.count || bytes + weight.bytes > maxBatch.bytes
        if (isFull && count > 0) break
        taken += 1
        count += weight.count
        bytes += weight.bytes
      }
      if (taken === 0) break
      this.#leaveReady(line)
      line.underWay = true
      batch.push(...line.waiting.splice(0, taken))
    }
    return batch
  }

  #leaveReady(line: Line<In, Out>): void {
    this.#ready.delete(line)
    for (const { weight } of line.waiting) {
      this.#readyCount -= weight.count
      this.#readyBytes -= weight.bytes
    }
  }

  async #send(batch: readonly Waiting<In, Out>[]): Promise<void> {
    const sending = { sentAt: performance.now() }
    this.#underWay.add(sending)
    this.#watchStuck()
    let settle: () => void
    try {
      const outcomes = await this.#options.send(batch.map((it) => it.item))
      settle = () =>
        batch.forEach((it, i) => {
          const outcome = outcomes[i]
          if (outcome === undefined)
            it.reject(new Error('the batch came back without an answer for this item'))
          else if (outcome.ok) it.resolve(outcome.value)
          else it.reject(outcome.error)
        })
    } catch (error) {
      settle = () => {
        for (const it of batch) it.reject(error instanceof Error ? error : new Error(String(error)))
      }
    }
    this.#underWay.delete(sending)
    for (const { line } of batch) if (line.underWay) this.#comeBack(line)
    this.#sendReady()
    // The next batch is sent before the callers of this one keep the thread busy with their answers.
    if (this.#underWay.size > 0) await endOfTurn()
    for (const it of batch) this.#forget(it)
    settle()
    if (this.#count === 0) this.#rest()
  }

  /** Settles `stop` and clears the timers: no item is left. */
  #rest(): void {
    clearTimeout(this.#stuck)
    clearTimeout(this.#deadlineTimer)
    this.#stuck = undefined
    this.#deadlineTimer = undefined
    for (const resolve of this.#whenAtRest) resolve()
    this.#whenAtRest.clear()
  }

  #comeBack(line: Line<In, Out>): void {
    line.underWay = false
    if (line.waiting.length > 0) this.#makeReady(line, ...line.waiting)
    else this.#lines.delete(line.key)
  }

  #forget(it: Waiting<In, Out>): void {
    this.#unsettled.delete(it)
    this.#count -= it.weight.count
    this.#bytes -= it.weight.bytes
  }

  #watchStuck(): void {
    const { maxUnderWay, stuckMs } = this.#options
    if (maxUnderWay === 1 || this.#stuck !== undefined) return
    this.#stuck = setTimeout(() => {
      this.#stuck = undefined
      this.#sendReady()
      if (this.#underWay.size > 0) this.#watchStuck()
    }, stuckMs)
  }

  #watchDeadline(): void {
    const { deadline } = this.#options
    if (deadline === undefined || this.#deadlineTimer !== undefined) return
    const [oldest] = this.#unsettled
    if (oldest === undefined) return
    const ms = Math.max(1, Math.ceil(oldest.since + deadline.ms - performance.now()))
    this.#deadlineTimer = setTimeout(() => this.#settleLate(deadline), ms)
  }

  #settleLate(deadline: NonNullable<BatcherOptions<In, Out>['deadline']>): void {
    this.#deadlineTimer = undefined
    const now = performance.now()
    for (const it of this.#unsettled) {
      if (now - it.since < deadline.ms) break
      const wasSent = it.line.waiting[0] !== it // the oldest of all is the first of its line, if it waits
      if (wasSent) this.#unsettled.delete(it)
      else this.#withdraw(it)
      it.reject(deadline.refuse(wasSent))
    }
    this.#watchDeadline()
  }

  /** Withdraws an item that has not left yet. */
  #withdraw(it: Waiting<In, Out>): void {
    const { line, weight } = it
    line.waiting.shift()
    this.#forget(it)
    if (line.underWay) return
    this.#readyCount -= weight.count
    this.#readyBytes -= weight.bytes
    if (line.waiting.length > 0) return
    this.#ready.delete(line)
    this.#lines.delete(line.key)
  }
}
