import type { AnyEvents, NewEvent } from '../types.ts'
import type { QueuedEvent } from './producerQueue.ts'

/**
 * An event of an outbox that is not acknowledged yet. Once it is stored, a tail yields it with the same `producer_id` and
 * `producer_seq`, which are set at the first attempt.
 */
export class PendingEvent<Events = AnyEvents> {
  /** Unique, and the same from `send` until the event is settled. Events from the store have one too. */
  readonly key: string
  /** `waiting` for its turn or for the next attempt, or `sending`. */
  readonly state: 'waiting' | 'sending'
  /** The JSON text that is sent, without the producer fields. */
  readonly text: string
  readonly producer_id: string | undefined
  readonly producer_seq: number | undefined
  #event: NewEvent<Events> | undefined

  constructor(key: string, entry: QueuedEvent, producerId: string | undefined) {
    this.key = key
    this.state = entry.isSending ? 'sending' : 'waiting'
    this.text = entry.event
    this.producer_seq = entry.number
    this.producer_id = entry.number === undefined ? undefined : producerId
  }

  get event(): NewEvent<Events> {
    this.#event ??= JSON.parse(this.text) as NewEvent<Events>
    return this.#event
  }
}
