import { chainFollower, type FollowChain } from '../archive/followChain.ts'
import type { DbSession } from '../db/session.ts'
import type { ObjectStore } from '../objects/objectStore.ts'
import type { Log } from '../ops/log.ts'
import type { Metrics } from '../ops/metrics.ts'
import { Archiver, type MoveProgress } from './archiver.ts'
import type { DueSegments } from './dueSegments.ts'
import { Eraser } from './erase/eraser.ts'
import type { VacuumRest } from './erase/vacuumRest.ts'
import { deleteExpired } from './loadedQueries.ts'
import { type Segment, stateArchiveFormat } from './queries.ts'
import type { Retention } from './retention/retention.ts'
import { Remainders, type RemaindersResult } from './setAside/remainders.ts'
import type { Probe } from './step.ts'
import { StoppedError } from './stopped.ts'

/** The part of a pass's options that does not change from one pass to the next. */
export interface PassOptions {
  readonly store: ObjectStore
  /** Verifies digests and hash chain of what is copied. */
  readonly follow?: FollowChain
  readonly log: Log
  readonly metrics: Metrics
  readonly onProgress?: (progress: Readonly<MoveProgress>) => void
  readonly onMoved?: (moved: Readonly<MoveProgress>) => void
  readonly probe?: Probe
  /** How many sessions that are set aside a pass looks at. */
  readonly setAsidePerPass?: number
}

interface RunningPassOptions extends PassOptions {
  /** Holds the job's lock. */
  readonly session: DbSession
  readonly signal: AbortSignal
  readonly due: DueSegments
  readonly retention: Retention
  readonly vacuumRest: VacuumRest
  /** Called before each segment. */
  readonly onSegment: () => Promise<void>
}

/** The failure of a step after which the steps that follow still run. */
type Failure = { readonly cause: unknown } | undefined

/**
 * One pass of the tiering job: erases what is to be erased, and moves the segments that are due. A step that fails does
 * not keep the others from running; the pass rejects with the first failure at its end.
 */
export class TieringPass {
  readonly #options: RunningPassOptions
  readonly #eraser: Eraser
  readonly #archiver: Archiver
  readonly #remainders: Remainders
  readonly #moved: MoveProgress[] = []
  /** Of the last run of the eraser. */
  #notErased: Failure
  readonly #failures: unknown[] = []

  constructor(options: RunningPassOptions) {
    this.#options = options
    const { session, store, signal, log, metrics, vacuumRest, onProgress, probe, setAsidePerPass } = options
    const common = { session, store, signal, log, ...(probe && { probe }) }
    const { follow = chainFollower() } = options
    this.#eraser = new Eraser({
      ...common,
      vacuumRest,
      onDone: ({ kind, seconds }) => metrics.erased(kind, seconds),
    })
    this.#archiver = new Archiver({ ...common, follow, ...(onProgress && { onProgress }) })
    this.#remainders = new Remainders({
      ...common,
      follow,
      ...(setAsidePerPass && { sessionsPerPass: setAsidePerPass }),
    })
  }

  /** Resolves with the segments that it moved. */
  async run(): Promise<MoveProgress[]> {
    const { session, retention } = this.#options
    await stateArchiveFormat(session)
    await deleteExpired(session)
    const notRequested = await failureOf(retention.pass(session))
    await this.#erase()
    await this.#moveDue()
    const failed = this.#notErased ?? notRequested
    if (failed) throw failed.cause
    return this.#moved
  }

  /** Called after each move again: for erasures that have waited for the move, or were requested meanwhile. */
  async #erase(): Promise<void> {
    this.#notErased = await failureOf(this.#eraser.run())
  }

  async #moveDue(): Promise<void> {
    const due = await this.#options.due.find(this.#options.session)
    // A session may come back only while no segment is under way that was planned without it.
    const underWay = due.findLastIndex(({ state }) => state !== 'hot') + 1
    await this.#move(due.slice(0, underWay))
    const remainders = await this.#moveRemainders()
    await this.#move(due.slice(underWay))
    if (remainders) this.#failures.push(remainders.cause)
    if (this.#failures.length > 0) throw this.#failures[0]
  }

  async #move(segments: readonly Segment[]): Promise<void> {
    for (const segment of segments) {
      await this.#options.onSegment()
      const progress = await this.#moveOne(segment)
      if (progress !== undefined) {
        this.#moved.push(progress)
        await this.#erase()
      }
      if (progress === undefined || progress.kept === 0) await this.#drop(segment.name)
    }
  }

  async #moveRemainders(): Promise<RemaindersResult['failure']> {
    try {
      const { empty, hasMoved, failure } = await this.#remainders.run()
      if (hasMoved) await this.#erase()
      for (const segment of empty) await this.#drop(segment)
      return failure
    } catch (cause) {
      if (cause instanceof StoppedError) throw cause
      this.#failures.push(cause)
      return undefined
    }
  }

  /** Undefined when it had moved before. */
  async #moveOne(segment: Segment): Promise<MoveProgress | undefined> {
    const { log, metrics, onMoved } = this.#options
    const started = performance.now()
    const progress = await this.#archiver.move(segment)
    if (segment.state === 'moved') return undefined
    const seconds = (performance.now() - started) / 1000
    metrics.segmentMoved(progress.events, progress.bytes, seconds)
    log.info({ ...progress, seconds }, 'segment moved to cold storage')
    onMoved?.(progress)
    return progress
  }

  /** Dropping empty partitions may wait for a long transaction; moving events does not. */
  async #drop(segment: string): Promise<void> {
    if (this.#failures.length > 0) return
    const failure = await failureOf(this.#archiver.drop(segment))
    if (failure) this.#failures.push(failure.cause)
  }
}

const failureOf = (step: Promise<void>): Promise<Failure> =>
  step.then(
    () => undefined,
    (cause: unknown) => ({ cause }),
  )
