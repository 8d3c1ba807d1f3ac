import { classify, isClockAhead, lacksPartition } from '../db/failure.ts'
import type { Db } from '../db/pool.ts'
import { jittered, pause } from '../lib/backoff.ts'
import { Batcher, type Outcome, type Weight } from '../lib/batcher.ts'
import type { Log } from '../ops/log.ts'
import type { Metrics } from '../ops/metrics.ts'
import { AppError } from '../protocol/errors.ts'
import { type AppendRequest, type AppendResult, isSafeToRepeat } from './newEvent.ts'
import { appendEvents, busySessions, type OutcomeRow } from './queries.ts'
import { toResult } from './result.ts'

export interface AppenderOptions {
  readonly db: Db
  /** The most batches under way at a time, beside one for locked sessions. */
  readonly connections: number
  readonly batchEvents: number
  readonly batchBytes: number
  readonly queueEvents: number
  readonly queueBytes: number
  /** The deadline of a request: how long its batch is retried and its caller waits before `storage_unavailable`. */
  readonly timeoutMs: number
  readonly log: Log
  readonly metrics: Metrics
  /** The latest time that Postgres's clock can show, in milliseconds since the epoch; undefined: unknown. */
  readonly latestTime: () => number | undefined
  /** Reads Postgres's clock, and creates missing partitions of events. */
  readonly ensureSegments: () => Promise<void>
  /** Called with every request that was committed, before its caller gets the result. */
  readonly onAppended: (request: AppendRequest, rows: readonly OutcomeRow[]) => void
}

const RETRY_BASE_MS = 20
const RETRY_MAX_MS = 500
const RETRY_AFTER_MS = 1000
/** A batch that takes this long is waiting for a lock: others take a fraction of it. */
const STUCK_MS = 100
/** The share of the time-out in which a batch is retried, so that callers get its error before their deadline. */
const RETRY_SHARE = 0.75
/** How long a session that another transaction had locked stays out of the common lane. */
const LOCKED_MS = 10_000
/** The most sessions that are remembered as locked. The oldest is forgotten first, and delays the common lane once more. */
const MAX_LOCKED = 1000

/**
 * The append path of a node. Requests gather into batches, of which usually one is under way. A session is in at most one
 * batch at a time, so a node never contends with itself for the lock of a session, and events that a client sends in order
 * are appended in order. A session that another transaction has locked uses a lane of its own for a while, so that it delays
 * no other session.
 *
 * A batch that fails as a whole is retried until the time-out when nothing of it can have been committed. When that is unknown
 * (the connection broke), only requests that Postgres would deduplicate are repeated. When another transaction has locked a
 * session, the requests of that session are refused and the others continue. When Postgres rejects the statement itself, the
 * batch is split until the request that causes it is alone.
 */
export class Appender {
  readonly #options: AppenderOptions
  readonly #lane: Batcher<AppendRequest, AppendResult>
  readonly #lockedLane: Batcher<AppendRequest, AppendResult>
  /** Sessions that were locked, and the time (milliseconds since the epoch) until which they count as locked; oldest first. */
  readonly #lockedUntil = new Map<string, number>()

  constructor(options: AppenderOptions) {
    this.#options = options
    const lane = (maxUnderWay: number, send: Send) =>
      new Batcher<AppendRequest, AppendResult>({
        send,
        keyOf: sessionKey,
        weigh: (request) => ({ count: request.events.length, bytes: request.bytes }),
        maxBatch: { count: options.batchEvents, bytes: options.batchBytes },
        maxWaiting: { count: options.queueEvents, bytes: options.queueBytes },
        maxUnderWay,
        stuckMs: STUCK_MS,
        refuse: (why) =>
          why === 'full'
            ? new AppError('append_backpressure', 'the append queue is full; send the append again later', {
                retry_after_ms: RETRY_AFTER_MS,
              })
            : new AppError('draining', 'the node is shutting down; send the append again', {
                retry_after_ms: 0,
              }),
        deadline: { ms: options.timeoutMs, refuse: (wasSent) => unavailable(undefined, wasSent) },
      })
    this.#lane = lane(options.connections, (batch) => this.#sendFree(batch))
    this.#lockedLane = lane(1, (batch) => this.#send(batch))
  }

  /** Resolves when the events are committed. Rejects with an AppError when none is, or, with `outcome_unknown`, when that is unknown. */
  append(request: AppendRequest): Promise<AppendResult> {
    const started = performance.now()
    const result = (this.#isLocked(request) ? this.#lockedLane : this.#lane).add(request)
    const answered = () => this.#options.metrics.append((performance.now() - started) / 1000)
    result.then(answered, answered)
    return result
  }

  /** The events that wait or are under way, and the characters of their requests. */
  get waiting(): Weight {
    const [common, held] = [this.#lane.waiting, this.#lockedLane.waiting]
    return { count: common.count + held.count, bytes: common.bytes + held.bytes }
  }

  #isLocked(request: AppendRequest): boolean {
    return this.#lockedUntil.size > 0 && (this.#lockedUntil.get(sessionKey(request)) ?? 0) > Date.now()
  }

  /** Sends a batch without the requests of sessions that turned out to be locked after they were queued, and refuses those. */
  async #sendFree(batch: readonly AppendRequest[]): Promise<Outcome<AppendResult>[]> {
    const free = new Set(batch.filter((request) => !this.#isLocked(request)))
    if (free.size === batch.length) return this.#send(batch)
    const send: Send = async (requests) => (requests.length > 0 ? this.#send(requests) : [])
    return eachOf(
      batch,
      (request) => free.has(request),
      send,
      () => sessionLocked(undefined),
    )
  }

  /** Refuses new appends, and resolves when those under way have their results. */
  async stop(): Promise<void> {
    await Promise.all([this.#lane.stop(), this.#lockedLane.stop()])
  }

  /** Sends a batch. Never rejects: every request of the batch gets its own outcome. */
  #send(batch: readonly AppendRequest[]): Promise<Outcome<AppendResult>[]> {
    return this.#attempt(batch, 0, Date.now() + RETRY_SHARE * this.#options.timeoutMs)
  }

  #markLocked(requests: Iterable<AppendRequest>): void {
    for (const request of requests) {
      const key = sessionKey(request)
      this.#lockedUntil.delete(key) // so that it becomes the newest
      this.#lockedUntil.set(key, Date.now() + LOCKED_MS)
      const [oldest] = this.#lockedUntil.keys()
      if (this.#lockedUntil.size > MAX_LOCKED && oldest !== undefined) this.#lockedUntil.delete(oldest)
    }
  }

  async #attempt(
    batch: readonly AppendRequest[],
    attempt: number,
    deadline: number,
  ): Promise<Outcome<AppendResult>[]> {
    const { db, log, metrics } = this.#options
    const started = performance.now()
    try {
      const answers = await appendEvents(db, batch, this.#options.latestTime())
      metrics.appendBatch(
        batch.reduce((sum, request) => sum + request.events.length, 0),
        (performance.now() - started) / 1000,
      )
      return batch.map((request, i) => this.#settle(request, answers[i] ?? []))
    } catch (error) {
      const failure = classify(error)
      log.warn({ err: error, failure, requests: batch.length, attempt }, 'append batch failed')
      const tryAgain = async (requests: readonly AppendRequest[]): Promise<Outcome<AppendResult>[]> => {
        if (requests.length === 0) return []
        const pauseMs = jittered(attempt, RETRY_BASE_MS, RETRY_MAX_MS)
        if (Date.now() + pauseMs >= deadline)
          return requests.map(() => failed(unavailable(error, failure === 'unknown')))
        await pause(pauseMs)
        return this.#attempt(requests, attempt + 1, deadline)
      }
      if (lacksPartition(error) || isClockAhead(error)) {
        const ensured = this.#options.ensureSegments()
        await ensured.catch((cause) => log.error({ err: cause }, 'creating segments failed'))
      }
      switch (failure) {
        case 'retry':
        case 'unavailable':
          return tryAgain(batch)
        case 'unknown':
          return eachOf(batch, isSafeToRepeat, tryAgain, () => unavailable(error, true))
        case 'locked': {
          const busy = await busySessions(db, batch).catch(() => new Set<AppendRequest>())
          this.#markLocked(busy)
          return eachOf(
            batch,
            (request) => !busy.has(request),
            tryAgain,
            () => sessionLocked(error),
          )
        }
        case 'refused': {
          if (batch.length === 1) return [failed(refused(error))]
          const middle = Math.ceil(batch.length / 2)
          const first = await this.#attempt(batch.slice(0, middle), attempt, deadline)
          return [...first, ...(await this.#attempt(batch.slice(middle), attempt, deadline))]
        }
        default:
          return failure satisfies never
      }
    }
  }

  #settle(request: AppendRequest, rows: readonly OutcomeRow[]): Outcome<AppendResult> {
    const answer = toResult(request, rows)
    if (answer instanceof AppError) return failed(answer)
    this.#options.onAppended(request, rows)
    return { ok: true, value: answer }
  }
}

type Send = (batch: readonly AppendRequest[]) => Promise<Outcome<AppendResult>[]>

/** The key of a session. No id contains NUL, so keys are unique. */
const sessionKey = ({ tenantId, sessionId }: AppendRequest): string => `${tenantId}\0${sessionId}`

/** Handles the requests that qualify together, refuses the others, and returns the outcomes in order. */
async function eachOf(
  batch: readonly AppendRequest[],
  qualifies: (request: AppendRequest) => boolean,
  handle: (requests: readonly AppendRequest[]) => Promise<Outcome<AppendResult>[]>,
  refusal: () => AppError,
): Promise<Outcome<AppendResult>[]> {
  const handled = (await handle(batch.filter(qualifies))).values()
  return batch.map((request) =>
    qualifies(request) ? (handled.next().value as Outcome<AppendResult>) : failed(refusal()),
  )
}

const failed = (error: AppError): Outcome<never> => ({ ok: false, error })

const unavailable = (cause: unknown, outcomeUnknown: boolean): AppError =>
  outcomeUnknown
    ? new AppError(
        'storage_unavailable',
        'Postgres did not answer, so the append may or may not be stored; with producer_id and producer_seq it is safe to send again',
        { retry_after_ms: RETRY_AFTER_MS, outcome_unknown: true },
        { cause },
      )
    : new AppError(
        'storage_unavailable',
        'Postgres is unavailable or read-only; nothing was stored',
        { retry_after_ms: RETRY_AFTER_MS },
        { cause },
      )

const sessionLocked = (cause: unknown): AppError =>
  new AppError(
    'storage_unavailable',
    'another transaction has locked the session; nothing was stored',
    { retry_after_ms: RETRY_AFTER_MS },
    { cause },
  )

const refused = (cause: unknown): AppError =>
  new AppError('internal_error', 'Postgres refused the append; nothing was stored', {}, { cause })
