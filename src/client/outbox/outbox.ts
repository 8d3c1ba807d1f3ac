import { Attention } from '../attention.ts'
import { StarciteError } from '../errors.ts'
import { eventText } from '../eventText.ts'
import type { Http } from '../http/http.ts'
import type { AnyEvents, Appended, NewEvent } from '../types.ts'
import { type Entry, Lane } from './lane.ts'
import { Sender, type SenderOptions } from './sender.ts'
import { memoryStore, type OutboxStore } from './store.ts'

export interface OutboxOptions extends Partial<SenderOptions> {
  /** Default: memory, which lasts as long as the page or process. */
  readonly store?: OutboxStore
  /** Events that may wait. Past it `send` rejects with `outbox_full`. Default 1,000. */
  readonly maxPending?: number
  /** Events in one request, 1 to 1,000. Default 100. */
  readonly maxBatch?: number
}

/** Outboxes of one session in one store at a time, say in tabs. */
const MAX_LANES = 32

/**
 * Appends that survive: each event is stored once, in the order of `send`, however often requests and answers are lost,
 * and, with a store, over reloads. States: open → closing (takes no more, sends the rest) → ended; or, over an error
 * that is not one event's, ended at once, with what was not sent still in the store.
 */
export class Outbox<Events = AnyEvents> {
  readonly #key: string
  readonly #options: OutboxOptions
  readonly #abort = new AbortController()
  readonly #attention = new Attention(this.#abort.signal)
  readonly #sender: Sender
  readonly #running: Promise<void>
  readonly #lanes: Lane[] = []
  #waiting: Entry[] = []
  #state: 'open' | 'closing' | 'ended' = 'open'
  #wake: (() => void) | undefined
  #error: unknown

  constructor(http: Http, path: string, options: OutboxOptions) {
    this.#options = options
    this.#key = `starcite.outbox ${http.url(path)}`
    this.#sender = new Sender(http, path, this.#attention, { ...options, maxBatch: options.maxBatch ?? 100 })
    this.#running = this.#run()
  }

  /** Events that are not acknowledged yet, those of earlier lives that were found in the store included. */
  get pending(): number {
    return this.#lanes.reduce((sum, lane) => sum + lane.entries.length, this.#own ? 0 : this.#waiting.length)
  }

  /**
   * Resolves once the event is committed. `event` is an object, or its JSON text, which is sent as it stands. Rejects with
   * the server's refusal, `outbox_full`, `outbox_closed`, or what ended the outbox.
   */
  send(event: NewEvent<Events> | string): Promise<Appended> {
    let text: string
    try {
      this.#refuseWhenOver()
      text = eventText(event, { numbered: false })
    } catch (error) {
      return Promise.reject(error)
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ event: text, number: undefined, settle: { resolve, reject } })
      this.#own?.save().catch(() => {}) // told by the save before it is sent
      this.#wake?.()
    })
  }

  /** Takes no more, and resolves when all is sent. Rejects with what ended the outbox before that. */
  async close(): Promise<void> {
    if (this.#state === 'open') this.#state = 'closing'
    this.#wake?.()
    await this.#running
    if (this.#error !== undefined) throw this.#error
  }

  /** Ends at once. What is not acknowledged is rejected with `outbox_closed`; the store keeps it. */
  async stop(): Promise<void> {
    this.#abort.abort(new StarciteError('outbox_closed', 'the outbox was stopped'))
    this.#wake?.()
    await this.#running
  }

  get #own(): Lane | undefined {
    return this.#lanes.at(-1)
  }

  #refuseWhenOver(): void {
    if (this.#state !== 'open')
      throw new StarciteError('outbox_closed', 'the outbox takes no more events', { cause: this.#error })
    const { maxPending = 1000 } = this.#options
    if (this.pending >= maxPending)
      throw new StarciteError('outbox_full', `${maxPending} events are waiting already`, { retryable: true })
  }

  async #run(): Promise<void> {
    try {
      const lanes = await this.#open()
      const own = lanes.at(-1)
      own?.entries.push(...this.#waiting)
      this.#waiting = own?.entries ?? []
      this.#lanes.push(...lanes)
      for (const lane of lanes) while (lane.entries.length > 0) await this.#step(lane)
      while (this.#state === 'open' || this.#waiting.length > 0) {
        if (own && this.#waiting.length > 0) await this.#step(own)
        else await this.#sleep()
      }
    } catch (error) {
      this.#error = error
    }
    this.#state = 'ended'
    this.#attention.stop()
    for (const { settle } of this.#waiting) settle?.reject(this.#error)
    await Promise.all(this.#lanes.map((lane) => lane.close()))
  }

  async #step(lane: Lane): Promise<void> {
    this.#abort.signal.throwIfAborted()
    await this.#sender.step(lane)
  }

  async #sleep(): Promise<void> {
    this.#abort.signal.throwIfAborted()
    await new Promise<void>((resolve) => {
      this.#wake = resolve
    })
    this.#wake = undefined
    this.#abort.signal.throwIfAborted()
  }

  /** The lanes that earlier lives have left something in, and, last, the one that this outbox goes on with. */
  async #open(): Promise<Lane[]> {
    const { producerId, store = memoryStore() } = this.#options
    if (producerId !== undefined || store.claim === undefined) {
      const key = producerId === undefined ? this.#key : `${this.#key} ${producerId}`
      const letGo = store.claim === undefined ? () => {} : await store.claim(key)
      if (letGo === undefined)
        throw new StarciteError('outbox_in_use', `another outbox has the producer ${producerId}`)
      return [await Lane.open(store, key, () => producerId ?? newId(), letGo)]
    }
    let own: Lane | undefined
    const left: Lane[] = []
    for (let i = 0; i < MAX_LANES; i += 1) {
      const letGo = await store.claim(`${this.#key} ${i}`)
      if (letGo === undefined) continue // of an outbox that is alive
      const lane = await Lane.open(store, `${this.#key} ${i}`, newId, letGo)
      if (own === undefined) own = lane
      else if (lane.entries.length > 0) left.push(lane)
      else await lane.close()
      if (lane.isNew) break
    }
    if (own === undefined)
      throw new StarciteError('outbox_in_use', `${MAX_LANES} outboxes of this session are open`)
    return [...left, own]
  }
}

/** 122 random bits; crypto.randomUUID alone would need a secure context. */
function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
