import { StarciteError } from '../errors.ts'
import { eventText } from '../eventText.ts'
import type { Http } from '../http/http.ts'
import { PageWakeups } from '../pageWakeups.ts'
import type { AnyEvents, Appended, NewEvent } from '../types.ts'
import { newId } from './newId.ts'
import { PendingEvent } from './pending.ts'
import { newQueuedEvent, ProducerQueue, type QueuedEvent } from './producerQueue.ts'
import { Sender, type SenderOptions } from './sender.ts'
import { memoryStore, type OutboxStore } from './store.ts'

export interface OutboxOptions extends Partial<SenderOptions> {
  /** Default: memory, which is lost with the page or process. */
  readonly store?: OutboxStore
  /** The maximum number of pending events. Above it `send` rejects with `outbox_full`. Default 1,000. */
  readonly maxPending?: number
  /** Events in one request, 1 to 1,000. Default 100. */
  readonly maxBatch?: number
  /**
   * Called at each start while the store has a value under the outbox's key that no outbox has saved. The outbox leaves the
   * value there, and uses another key.
   */
  readonly onDamaged?: (damaged: { readonly key: string; readonly text: string }) => void
}

/** The maximum number of outboxes of one session in one store, for example in tabs, damaged keys included. */
const MAX_QUEUES = 32

/**
 * Stores each event once, in the order of `send`, even if requests and responses are lost and, with a store, over reloads.
 * States: open → closing (accepts no more events, sends the rest) → ended. An error that does not concern a single event ends
 * the outbox at once; the store keeps the events that were not sent.
 */
export class Outbox<Events = AnyEvents> {
  readonly #key: string
  readonly #options: OutboxOptions
  readonly #abort = new AbortController()
  readonly #wakeups = new PageWakeups(this.#abort.signal)
  readonly #sender: Sender
  readonly #running: Promise<void>
  readonly #queues: ProducerQueue[] = []
  readonly #store: OutboxStore
  readonly #listeners = new Set<() => void>()
  readonly #keys = new WeakMap<QueuedEvent, string>()
  #nextKey = 1
  #events: readonly PendingEvent<Events>[] | undefined
  #isNotifyScheduled = false
  #waiting: QueuedEvent[] = []
  #state: 'open' | 'closing' | 'ended' = 'open'
  #wake: (() => void) | undefined
  #error: unknown

  constructor(http: Http, path: string, options: OutboxOptions) {
    this.#options = options
    this.#key = `starcite.outbox ${http.url(path)}`
    this.#store = options.store ?? memoryStore()
    this.#sender = new Sender(
      http,
      path,
      this.#wakeups,
      { ...options, maxBatch: options.maxBatch ?? 100 },
      () => this.#changed(),
    )
    this.#running = this.#run()
  }

  /** The number of events that are not acknowledged yet, including those of earlier pages or processes in the store. */
  get pending(): number {
    return this.#queues.reduce(
      (sum, queue) => sum + queue.entries.length,
      this.#own ? 0 : this.#waiting.length,
    )
  }

  /**
   * The events that are not acknowledged yet, in the order in which they are sent, for optimistic rendering. The getter
   * returns the same array until something changes.
   */
  get events(): readonly PendingEvent<Events>[] {
    this.#events ??= [
      ...this.#queues.flatMap((queue) => queue.entries.map((entry) => this.#show(entry, queue.producerId))),
      ...(this.#own ? [] : this.#waiting.map((entry) => this.#show(entry, undefined))),
    ]
    return this.#events
  }

  /** Calls `listener` after changes of `events`, once for simultaneous ones. Returns the function that unsubscribes it. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /**
   * Sends an event, given as an object or as JSON text that is sent unchanged. Resolves once it is committed. Rejects with the
   * server's error, `outbox_full`, `outbox_closed`, or the error that ended the outbox.
   */
  send(event: NewEvent<Events> | string): Promise<Appended> {
    let text: string
    try {
      this.#assertAccepting()
      text = eventText(event, { numbered: false })
    } catch (error) {
      return Promise.reject(error)
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push(newQueuedEvent(text, { resolve, reject }))
      this.#changed()
      this.#own?.save().catch(() => {}) // the save before sending reports it
      this.#wake?.()
    })
  }

  /** Accepts no more events, and resolves when all are sent. Rejects with the error that ended the outbox before that. */
  async close(): Promise<void> {
    if (this.#state === 'open') this.#state = 'closing'
    this.#wake?.()
    await this.#running
    if (this.#error !== undefined) throw this.#error
  }

  /** Ends the outbox at once. Pending events reject with `outbox_closed`; the store keeps them. */
  async stop(): Promise<void> {
    this.#abort.abort(new StarciteError('outbox_closed', 'the outbox was stopped'))
    this.#wake?.()
    await this.#running
  }

  /**
   * Gives up on the pending events: ends the outbox, removes its events from the store, including those of earlier pages or
   * processes, and resolves with them. Use it after the session was erased, or when the producer id cannot be used any more.
   */
  async discard(): Promise<readonly PendingEvent<Events>[]> {
    await this.stop()
    this.#queues.splice(0)
    const queues = await this.#open()
    const events = queues.flatMap((queue) => queue.entries.map((it) => this.#show(it, queue.producerId)))
    try {
      for (const queue of queues) if (queue.entries.splice(0).length > 0) await queue.save()
    } finally {
      await Promise.all(queues.map((queue) => queue.close()))
    }
    this.#waiting = []
    this.#changed()
    return events
  }

  get #own(): ProducerQueue | undefined {
    return this.#queues.at(-1)
  }

  #assertAccepting(): void {
    if (this.#state !== 'open')
      throw new StarciteError('outbox_closed', 'the outbox is closed: it accepts no more events', {
        cause: this.#error,
      })
    const { maxPending = 1000 } = this.#options
    if (this.pending >= maxPending)
      throw new StarciteError('outbox_full', `the outbox is full: ${maxPending} events are pending`, {
        retryable: true,
      })
  }

  async #run(): Promise<void> {
    try {
      const queues = await this.#open()
      const own = queues.at(-1)
      own?.entries.push(...this.#waiting)
      this.#waiting = own?.entries ?? []
      this.#queues.push(...queues)
      this.#changed()
      for (const queue of queues) await this.#rejectInvalid(queue)
      for (const queue of queues) while (queue.entries.length > 0) await this.#sendNextBatch(queue)
      while (this.#state === 'open' || this.#waiting.length > 0) {
        if (own && this.#waiting.length > 0) await this.#sendNextBatch(own)
        else await this.#sleep()
      }
    } catch (error) {
      this.#error = error
    }
    this.#state = 'ended'
    this.#wakeups.stop()
    // Events sent before the store was open, or before the outbox ended, are kept too.
    const unsaved = this.#queues.filter((queue) => queue.entries.some((it) => !it.isSaved))
    await Promise.all(unsaved.map((queue) => queue.save().catch(() => {})))
    for (const { settle } of this.#waiting) settle?.reject(this.#error)
    await Promise.all(this.#queues.map((queue) => queue.close()))
  }

  /** Checks the events from the store like those of `send`: an invalid event would fail each batch that it is in. */
  async #rejectInvalid(queue: ProducerQueue): Promise<void> {
    for (const entry of queue.entries.filter((it) => it.settle === undefined))
      try {
        eventText(entry.event, { numbered: false })
      } catch (error) {
        await this.#sender.reject(queue, entry, error as StarciteError)
      }
  }

  #show(entry: QueuedEvent, producerId: string | undefined): PendingEvent<Events> {
    let key = this.#keys.get(entry)
    if (key === undefined) {
      key = String(this.#nextKey)
      this.#nextKey += 1
      this.#keys.set(entry, key)
    }
    return new PendingEvent(key, entry, producerId)
  }

  #changed(): void {
    this.#events = undefined
    if (this.#isNotifyScheduled || this.#listeners.size === 0) return
    this.#isNotifyScheduled = true
    queueMicrotask(() => {
      this.#isNotifyScheduled = false
      for (const listener of [...this.#listeners]) listener()
    })
  }

  async #sendNextBatch(queue: ProducerQueue): Promise<void> {
    this.#abort.signal.throwIfAborted()
    await this.#sender.sendNextBatch(queue)
  }

  async #sleep(): Promise<void> {
    this.#abort.signal.throwIfAborted()
    await new Promise<void>((resolve) => {
      this.#wake = resolve
    })
    this.#wake = undefined
    this.#abort.signal.throwIfAborted()
  }

  /** The queues in which earlier pages or processes left events and, last, the queue that this outbox uses. */
  async #open(): Promise<ProducerQueue[]> {
    const { producerId } = this.#options
    const claim = this.#store.claim?.bind(this.#store)
    const isAlone = producerId !== undefined || claim === undefined
    const key = producerId === undefined ? this.#key : `${this.#key} ${producerId}`
    const queues: ProducerQueue[] = []
    let own: ProducerQueue | undefined
    try {
      for (let i = 0; i < MAX_QUEUES; i += 1) {
        // An outbox that is alone uses its plain key, unless that has a value that no outbox has saved.
        const queueKey = isAlone && i === 0 ? key : `${key} ${i}`
        const release = claim === undefined ? () => {} : await claim(queueKey)
        if (release === undefined && isAlone)
          throw new StarciteError('outbox_in_use', `another outbox uses the producer ${producerId}`)
        if (release === undefined) continue // another outbox uses it
        const queue = await ProducerQueue.open(this.#store, queueKey, () => producerId ?? newId(), release)
        if (typeof queue === 'string') {
          this.#options.onDamaged?.({ key: queueKey, text: queue })
          continue
        }
        if (own === undefined) own = queue
        else if (queue.entries.length > 0) queues.push(queue)
        else await queue.close()
        if (queue.isNew || isAlone) break
      }
      if (own === undefined)
        throw new StarciteError(
          'outbox_in_use',
          `too many outboxes of this session are open: the limit is ${MAX_QUEUES}`,
        )
      return [...queues, own]
    } catch (error) {
      await Promise.all([...queues, ...(own ? [own] : [])].map((queue) => queue.close()))
      throw error
    }
  }
}
