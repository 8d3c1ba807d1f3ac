export interface BatcherOptions<In, Out> {
  /** Handles a batch and answers item by item, in order. A rejection rejects every item of the batch. */
  readonly send: (batch: readonly In[]) => Promise<readonly Outcome<Out>[]>
  /** What an item weighs against the bounds. */
  readonly weigh: (item: In) => Weight
  /** A batch stops growing at either; an item larger than that goes alone. */
  readonly maxBatch: Weight
  /** Past either, `add` refuses rather than queues. */
  readonly maxWaiting: Weight
  /** The error of a refusal: at the bound, or after `stop`. */
  readonly refuse: (why: 'full' | 'stopped') => Error
  /** Nobody waits longer than this. What was not sent by then never is; what was is settled without its outcome. */
  readonly patience?: { readonly ms: number; readonly refuse: (wasSent: boolean) => Error }
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
  readonly weight: Weight
  readonly since: number
  resolve(value: Out): void
  reject(error: Error): void
}

/**
 * Gathers items into batches by self-clocking: nothing in flight, and what is there goes out at the end of this turn
 * of the event loop; one batch in flight, and what arrives meanwhile is the next one. No timer, so an idle caller
 * waits for nobody and a busy one pays one round trip for many.
 */
export class Batcher<In, Out> {
  readonly #options: BatcherOptions<In, Out>
  readonly #queue: Waiting<In, Out>[] = []
  #sent: readonly Waiting<In, Out>[] = []
  #waitingCount = 0
  #waitingBytes = 0
  #running: Promise<void> | undefined
  #impatience: NodeJS.Timeout | undefined
  #stopped = false

  constructor(options: BatcherOptions<In, Out>) {
    this.#options = options
  }

  /** Resolves once the item was handled. */
  add(item: In): Promise<Out> {
    if (this.#stopped) return Promise.reject(this.#options.refuse('stopped'))
    const weight = this.#options.weigh(item)
    const { maxWaiting } = this.#options
    const full =
      this.#waitingCount + weight.count > maxWaiting.count ||
      this.#waitingBytes + weight.bytes > maxWaiting.bytes
    // One item is always let in, so that an item heavier than the bound is slow rather than impossible.
    if (full && this.#waitingCount > 0) return Promise.reject(this.#options.refuse('full'))
    return new Promise((resolve, reject) => {
      this.#queue.push({ item, weight, since: performance.now(), resolve, reject })
      this.#waitingCount += weight.count
      this.#waitingBytes += weight.bytes
      this.#running ??= this.#run()
    })
  }

  /** Refuses what comes from now on and waits for what came before. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  async #run(): Promise<void> {
    await endOfTurn() // the rest of this turn joins the first batch
    const { patience } = this.#options
    if (patience) this.#impatience = setTimeout(() => this.#settleLate(patience), patience.ms)
    let batch = this.#take()
    let sending = this.#send(batch)
    while (batch.length > 0) {
      const settle = await sending
      const next = this.#take()
      if (next.length > 0) {
        sending = this.#send(next)
        // The next batch is on its way before the callers of this one keep the thread busy with their answers.
        await endOfTurn()
      }
      settle()
      batch = next
    }
    clearTimeout(this.#impatience)
    this.#running = undefined
  }

  /** The queue is in order of arrival, and what was sent arrived before all of it. */
  #settleLate(patience: NonNullable<BatcherOptions<In, Out>['patience']>): void {
    const now = performance.now()
    const isLate = ({ since }: Waiting<In, Out>) => now - since >= patience.ms
    for (const it of this.#sent) if (isLate(it)) it.reject(patience.refuse(true))
    const late = this.#queue.findIndex((it) => !isLate(it))
    for (const it of this.#queue.splice(0, late === -1 ? this.#queue.length : late)) {
      this.#forget(it)
      it.reject(patience.refuse(false))
    }
    const next = this.#sent.find((it) => !isLate(it)) ?? this.#queue[0]
    const nextMs = next ? next.since + patience.ms - now : patience.ms
    this.#impatience = setTimeout(() => this.#settleLate(patience), Math.ceil(nextMs))
  }

  #forget({ weight }: Waiting<In, Out>): void {
    this.#waitingCount -= weight.count
    this.#waitingBytes -= weight.bytes
  }

  #take(): Waiting<In, Out>[] {
    const { maxBatch } = this.#options
    let [end, count, bytes] = [0, 0, 0]
    for (const { weight } of this.#queue) {
      if (end > 0 && (count + weight.count > maxBatch.count || bytes + weight.bytes > maxBatch.bytes)) break
      end += 1
      count += weight.count
      bytes += weight.bytes
    }
    return this.#queue.splice(0, end)
  }

  /** Never rejects; resolves to what tells the callers. */
  async #send(batch: readonly Waiting<In, Out>[]): Promise<() => void> {
    if (batch.length === 0) return () => {}
    this.#sent = batch
    try {
      const outcomes = await this.#options.send(batch.map((it) => it.item))
      return () =>
        batch.forEach((it, i) => {
          const outcome = outcomes[i]
          if (outcome === undefined)
            it.reject(new Error('the batch came back without an answer for this item'))
          else if (outcome.ok) it.resolve(outcome.value)
          else it.reject(outcome.error)
        })
    } catch (error) {
      return () => {
        for (const it of batch) it.reject(error instanceof Error ? error : new Error(String(error)))
      }
    } finally {
      this.#sent = []
      for (const it of batch) this.#forget(it)
    }
  }
}

const endOfTurn = () => new Promise<void>((resolve) => setImmediate(resolve))
