import { Backoff } from '../backoff.ts'
import { StarciteError } from '../errors.ts'
import { batchAnswer } from '../http/answers.ts'
import type { Http } from '../http/http.ts'
import { offlineErrorOr } from '../offline.ts'
import type { PageWakeups } from '../pageWakeups.ts'
import type { Appended, BatchAppended } from '../types.ts'
import { findStored } from './findStored.ts'
import { newId } from './newId.ts'
import type { ProducerQueue, QueuedEvent } from './producerQueue.ts'

export interface SenderOptions {
  /** Default: a random id for each queue of the store. An id of your own needs a store that is never lost. */
  readonly producerId?: string | undefined
  readonly maxBatch: number
  /** Called when an event was stored, also for events from the store. */
  readonly onSent?: ((appended: Appended, event: string) => void) | undefined
  /** Called when the server rejected an event. The outbox does not send it again. */
  readonly onRefused?: ((error: StarciteError, event: string) => void) | undefined
  /** Called when the server was restored, and has lost acknowledged events. The outbox goes on with the pending ones. */
  readonly onHistoryChanged?: ((error: StarciteError) => void) | undefined
  readonly onRetry?: ((error: StarciteError, ms: number) => void) | undefined
}

/** The characters of one batch at most; the server's limit is 8 MiB of UTF-8. */
const MAX_BATCH_CHARS = 1_048_576
/**
 * After this many attempts without a response a batch is split: a proxy may cut off large bodies, or a slow link may take too
 * long for them. Batches of SMALL_BATCH_CHARS are not split.
 */
const MAX_CUTS = 3
const SMALL_BATCH_CHARS = 16_384
const BACKOFF_BASE_MS = 200
const BACKOFF_MAX_MS = 15_000

/** Sends the events of queues, one batch at a time, each until it is settled. */
export class Sender {
  readonly #http: Http
  readonly #path: string
  readonly #wakeups: PageWakeups
  readonly #options: SenderOptions
  readonly #onChange: () => void
  readonly #backoff = new Backoff(BACKOFF_BASE_MS, BACKOFF_MAX_MS)
  #limit: number
  /** The highest acknowledged seq. A log that has lost nothing assigns no seq below it. */
  #acknowledged = 0
  /** Reduced permanently to a size that passes: a proxy with a limit would reject each larger batch after reading it. */
  #maxChars = MAX_BATCH_CHARS
  /** Reduced while batches get no response, and raised again with each response. */
  #targetChars = MAX_BATCH_CHARS

  constructor(http: Http, path: string, wakeups: PageWakeups, options: SenderOptions, onChange: () => void) {
    this.#http = http
    this.#path = path
    this.#wakeups = wakeups
    this.#options = options
    this.#onChange = onChange
    this.#limit = options.maxBatch
  }

  /**
   * Sends the next batch of the queue, and settles its events. Rejects when the producer cannot go on; the queue keeps the
   * events.
   */
  async sendNextBatch(queue: ProducerQueue): Promise<void> {
    const batch = await this.#savedBatch(queue)
    this.#setSending(batch, true)
    try {
      const answer = await this.#deliver(queue, batch)
      if (this.#options.producerId !== undefined) assertProducerUnused(queue, answer)
      this.#trackAcknowledged(answer)
      const { last_seq, committed_cursor } = answer
      this.#settle(
        queue,
        batch.map((entry, i) => {
          const result = answer.results[i] as BatchAppended['results'][0]
          return [entry, { ...result, last_seq, cursor: result.seq, committed_cursor }]
        }),
      )
      this.#limit = this.#options.maxBatch
      this.#targetChars = Math.min(MAX_BATCH_CHARS, 2 * this.#targetChars)
    } catch (error) {
      if (!(error instanceof StarciteError) || this.#wakeups.signal.aborted) throw error
      await this.#onRejected(queue, batch, error)
    } finally {
      this.#setSending(batch, false)
    }
  }

  /** Removes an event that will not be stored, and rejects its `send`. */
  async reject(queue: ProducerQueue, entry: QueuedEvent, error: StarciteError): Promise<void> {
    queue.remove(entry, { isRefused: error.details.refused_by !== 'intermediary' })
    await queue.save().catch(() => {}) // the next save reports it; until then the event would be rejected again
    entry.settle?.reject(error)
    runCallback(this.#options.onRefused, error, entry.event)
    this.#onChange()
  }

  /** The next batch, numbered and saved. When the store is full, the events that it already has are sent first, to make room. */
  async #savedBatch(queue: ProducerQueue): Promise<readonly QueuedEvent[]> {
    const batch = queue.number(this.#count(queue.entries))
    try {
      await queue.save()
      return batch
    } catch (error) {
      const unsaved = batch.findIndex((it) => !it.isSaved)
      const saved = unsaved === -1 ? batch : batch.slice(0, unsaved)
      if (saved.length === 0) throw error
      return saved
    }
  }

  #count(entries: readonly QueuedEvent[]): number {
    let count = 0
    const maxChars = Math.min(this.#maxChars, this.#targetChars)
    for (let chars = 0; count < Math.min(this.#limit, entries.length); count += 1) {
      chars += entries[count]?.event.length ?? 0
      if (count > 0 && chars > maxChars) break
    }
    return count
  }

  /** Sends the same body until the server accepts or rejects it, or the batch counts as too large. */
  async #deliver(queue: ProducerQueue, batch: readonly QueuedEvent[]): Promise<BatchAppended> {
    const body = bodyOf(queue.producerId, batch)
    const { signal } = this.#wakeups
    const call = { method: 'POST', path: `${this.#path}/events`, body, signal, retry: true, attempts: 1 }
    const read = batchAnswer({ count: batch.length, isOneProducers: true })
    const canBeSmaller = batch.length > 1 && charsOf(batch) > SMALL_BATCH_CHARS
    let cuts = 0
    return this.#untilAnswered(
      () => this.#http.answer(call, read),
      ({ status }) => {
        queue.isNew = false // the batch may be stored and its response lost: the next one may be marked as a duplicate
        for (const entry of batch) entry.mayBeStored = true
        cuts = status === 0 ? cuts + 1 : 0
        return canBeSmaller && cuts === MAX_CUTS
      },
    )
  }

  /** Repeats the request until it has a response. `givesUp` returns true to stop after a failure. */
  async #untilAnswered<T>(
    ask: () => Promise<T>,
    givesUp: (error: StarciteError) => boolean = () => false,
  ): Promise<T> {
    for (;;) {
      try {
        const answer = await ask()
        this.#backoff.reset()
        return answer
      } catch (error) {
        if (this.#wakeups.signal.aborted || !(error instanceof StarciteError) || !error.retryable) throw error
        if (givesUp(error)) throw error
        const ms = this.#backoff.next(error.retryAfterMs)
        runCallback(this.#options.onRetry, offlineErrorOr(error), ms)
        await this.#wakeups.wait(ms)
      }
    }
  }

  /** Handles an error of the server, or a 413 of an intermediary. Rejects when it does not concern a single event. */
  async #onRejected(
    queue: ProducerQueue,
    batch: readonly QueuedEvent[],
    error: StarciteError,
  ): Promise<void> {
    if (/^producer_(seq|replay)_conflict$/.test(error.code)) return this.#onConflict(queue, batch, error)
    if (error.code === 'network_error') {
      this.#targetChars = Math.max(SMALL_BATCH_CHARS, charsOf(batch) / 2)
      return
    }
    if (!isAboutEvents(error)) throw error
    const at = batch.length === 1 ? 0 : error.details.index
    const refused = typeof at === 'number' ? batch[at] : undefined
    if (refused !== undefined) return this.reject(queue, refused, error)
    if (error.status === 413) this.#maxChars = charsOf(batch) / 2
    else this.#limit = Math.ceil(batch.length / 2) // the error does not name the event: send fewer
  }

  /**
   * Handles a conflict of numbers: the server was restored to an earlier state, an event was removed that may have been stored,
   * or the store is older than the last send. Random producers go on, with each event stored once: events that the session has
   * count as sent, and the others continue from the number that the server expects, or under a new producer id.
   */
  async #onConflict(
    queue: ProducerQueue,
    batch: readonly QueuedEvent[],
    error: StarciteError,
  ): Promise<void> {
    const { index = 0, expected_producer_seq: expected } = error.details
    const entry = batch[Number(index)]
    const isOwn = this.#options.producerId !== undefined
    if (entry?.number === undefined) throw error
    // No event from that number on is stored, so no pending one is. Go on only where a callback reports lost events.
    const mayGoOn = !isOwn || queue.hasGap || this.#options.onHistoryChanged !== undefined
    if (mayGoOn && typeof expected === 'number' && expected < entry.number) {
      if (!queue.hasGap)
        this.#reportHistoryChanged({ producer_seq: entry.number, expected_producer_seq: expected })
      queue.closeGap(entry, expected)
    } else if (isOwn || queue.isNew) throw error
    else {
      const { signal } = this.#wakeups
      const stored = await this.#untilAnswered(() => findStored(this.#http, this.#path, queue, signal)).catch(
        (cause) => {
          throw cause instanceof StarciteError && !signal.aborted ? error : cause // it may not be allowed to read
        },
      )
      this.#settle(queue, stored)
      queue.restartAs(newId())
    }
    await queue.save()
  }

  #trackAcknowledged({ results }: BatchAppended): void {
    const isBelow = results.some(({ seq, deduped }) => !deduped && seq <= this.#acknowledged)
    if (isBelow) this.#reportHistoryChanged({ acknowledged_seq: this.#acknowledged, seq: results[0]?.seq })
    const highest = Math.max(0, ...results.map(({ seq }) => seq))
    this.#acknowledged = isBelow ? highest : Math.max(this.#acknowledged, highest)
  }

  #reportHistoryChanged(details: Record<string, unknown>): void {
    const message =
      'the server was restored, and has lost events that it had acknowledged: read the session again'
    this.#acknowledged = 0 // reported once
    runCallback(this.#options.onHistoryChanged, new StarciteError('history_changed', message, { details }))
  }

  #settle(queue: ProducerQueue, stored: readonly (readonly [QueuedEvent, Appended])[]): void {
    const gone = new Set(stored.map(([entry]) => entry))
    queue.entries.splice(0, queue.entries.length, ...queue.entries.filter((it) => !gone.has(it)))
    queue.save().catch(() => {}) // the next save reports it; until then these events would be sent twice, and deduplicated
    for (const [{ settle }, appended] of stored) settle?.resolve(appended)
    for (const [{ event }, appended] of stored) runCallback(this.#options.onSent, appended, event)
    this.#onChange()
  }

  #setSending(batch: readonly QueuedEvent[], isSending: boolean): void {
    for (const entry of batch) entry.isSending = isSending
    this.#onChange()
  }
}

/** Runs a callback of the caller. Its exceptions do not end the outbox. */
function runCallback<Args extends unknown[]>(
  callback: ((...args: Args) => void) | undefined,
  ...args: Args
): void {
  try {
    callback?.(...args)
  } catch (error) {
    void Promise.reject(error)
  }
}

/** Whether an error concerns the events of the batch, so that other events of this producer may succeed. */
function isAboutEvents({ code, status, details }: StarciteError): boolean {
  if (code === 'bad_request' || String(details.field).startsWith('producer_')) return false
  return [400, 413, 422].includes(status) || ['actor_mismatch', 'expected_seq_conflict'].includes(code)
}

const charsOf = (batch: readonly QueuedEvent[]) => batch.reduce((sum, { event }) => sum + event.length, 0)

function bodyOf(producerId: string, batch: readonly QueuedEvent[]): string {
  const id = JSON.stringify(producerId)
  const events = batch.map(
    ({ event, number }) =>
      `{"producer_id":${id},"producer_seq":${number},${event.slice(event.indexOf('{') + 1)}`,
  )
  return `{"events":[${events.join(',')}]}`
}

/**
 * Throws when the server has events of a producer id of the caller for which the store has no record. With a random id a
 * duplicate is only a request that `fetch` has repeated, as Deno does on a kept connection.
 */
function assertProducerUnused(queue: ProducerQueue, answer: BatchAppended): void {
  if (queue.isNew && answer.results.some((it) => it.deduped))
    throw new StarciteError(
      'producer_state_lost',
      `the producer ${queue.producerId} was used before, but its state is not in this store: use another producer id`,
    )
  queue.isNew = false
}
