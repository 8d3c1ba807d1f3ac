import { type Attention, Backoff } from '../attention.ts'
import { StarciteError } from '../errors.ts'
import type { Http } from '../http/http.ts'
import type { Appended, BatchAppended } from '../types.ts'
import type { Entry, Lane } from './lane.ts'

export interface SenderOptions {
  /** Default: a random one for each lane of the store. One of your own needs a store that is never lost. */
  readonly producerId?: string | undefined
  readonly maxBatch: number
  /** A batch that nobody waits for any more was stored. */
  readonly onSent?: ((appended: Appended, event: string) => void) | undefined
  /** An event was refused for what it is, and is not sent again. */
  readonly onRefused?: ((error: StarciteError, event: string) => void) | undefined
  readonly onRetry?: ((error: StarciteError, ms: number) => void) | undefined
}

/** Characters of one batch; the server's bound is 8 MiB of UTF-8. */
const MAX_BATCH_CHARS = 1_048_576
const BACKOFF_BASE_MS = 200
const BACKOFF_MAX_MS = 15_000

/** Refusals that are not about one event: nothing else of this producer would fare better now. */
const FATAL = new Set([
  'unauthorized',
  'token_expired',
  'forbidden_scope',
  'forbidden_session',
  'session_not_found',
  'session_erased',
  'producer_seq_conflict',
  'producer_replay_conflict',
  'not_found',
  'method_not_allowed',
])

/** Sends what lanes hold, one batch at a time, each until it is settled. */
export class Sender {
  readonly #http: Http
  readonly #path: string
  readonly #attention: Attention
  readonly #options: SenderOptions
  readonly #backoff = new Backoff(BACKOFF_BASE_MS, BACKOFF_MAX_MS)
  #limit: number

  constructor(http: Http, path: string, attention: Attention, options: SenderOptions) {
    this.#http = http
    this.#path = path
    this.#attention = attention
    this.#options = options
    this.#limit = options.maxBatch
  }

  /**
   * Sends the next batch of the lane, and settles its events. Rejects, with every event still in the lane, when the
   * producer cannot go on.
   */
  async step(lane: Lane): Promise<void> {
    const batch = lane.number(this.#count(lane.entries))
    await lane.save()
    try {
      const answer = await this.#deliver(lane, bodyOf(lane.producerId, batch))
      if (this.#options.producerId !== undefined) refuseLostState(lane, answer)
      this.#settle(lane, batch, answer)
      this.#limit = this.#options.maxBatch
    } catch (error) {
      if (!(error instanceof StarciteError) || FATAL.has(error.code) || error.code.startsWith('http_'))
        throw error
      if (error.status === 0) throw error
      const at = batch.length === 1 ? 0 : Number(error.details.index ?? Number.NaN)
      const refused = batch[at]
      if (refused === undefined) {
        this.#limit = Math.ceil(batch.length / 2) // too much at once, or it does not say which: fewer then
        return
      }
      lane.takeOut(refused)
      await lane.save()
      refused.settle?.reject(error)
      this.#options.onRefused?.(error, refused.event)
    }
  }

  #count(entries: readonly Entry[]): number {
    let count = 0
    for (let chars = 0; count < Math.min(this.#limit, entries.length); count += 1) {
      chars += entries[count]?.event.length ?? 0
      if (count > 0 && chars > MAX_BATCH_CHARS) break
    }
    return count
  }

  /** The same body again and again, until the server says yes or no. */
  async #deliver(lane: Lane, body: string): Promise<BatchAppended> {
    for (;;) {
      try {
        const { signal } = this.#attention
        const answer = await this.#http.json<BatchAppended>({
          method: 'POST',
          path: `${this.#path}/events`,
          body,
          signal,
        })
        this.#backoff.reset()
        return answer
      } catch (error) {
        if (this.#attention.signal.aborted || !(error instanceof StarciteError) || !error.retryable)
          throw error
        lane.isNew = false // it may be stored, and its answer lost: the next one may say so
        const ms = this.#backoff.next(error.retryAfterMs)
        this.#options.onRetry?.(error, ms)
        await this.#attention.wait(ms)
      }
    }
  }

  #settle(lane: Lane, batch: readonly Entry[], answer: BatchAppended): void {
    const { last_seq, committed_cursor } = answer
    lane.entries.splice(0, batch.length)
    lane.save().catch(() => {}) // the next step's own save tells; until then these would be sent twice, and dedupe
    batch.forEach(({ event, settle }, i) => {
      const result = answer.results[i]
      if (result === undefined) return
      const appended = { ...result, last_seq, cursor: result.seq, committed_cursor }
      settle?.resolve(appended)
      this.#options.onSent?.(appended, event)
    })
  }
}

function bodyOf(producerId: string, batch: readonly Entry[]): string {
  const id = JSON.stringify(producerId)
  const events = batch.map(
    ({ event, number }) =>
      `{"producer_id":${id},"producer_seq":${number},${event.slice(event.indexOf('{') + 1)}`,
  )
  return `{"events":[${events.join(',')}]}`
}

/**
 * A producer of the caller's that believes it has never sent anything, and is told that its first event was there already.
 * Random ones are nobody else's: there, a duplicate is a repetition by `fetch`, as Deno's does over a kept connection.
 */
function refuseLostState(lane: Lane, answer: BatchAppended): void {
  if (lane.isNew && answer.results.some((it) => it.deduped))
    throw new StarciteError(
      'producer_state_lost',
      `the producer ${lane.producerId} was used before, and nothing is kept of it here: take another producer id`,
    )
  lane.isNew = false
}
