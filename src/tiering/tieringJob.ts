import { chainFollower, type FollowChain } from '../archive/followChain.ts'
import { type Job, type JobResult, runAlone } from '../db/job.ts'
import type { DbSession } from '../db/session.ts'
import { jittered, pause } from '../lib/backoff.ts'
import { type Idleness, NEVER_IDLE } from '../lib/idleness.ts'
import type { ObjectStore } from '../objects/objectStore.ts'
import type { Log } from '../ops/log.ts'
import type { Metrics } from '../ops/metrics.ts'
import { Archiver, type MoveProgress } from './archiver.ts'
import { Eraser } from './erase/eraser.ts'
import { type ErasureStatus, erasureStatus } from './erase/queries.ts'
import { VacuumRest } from './erase/vacuumRest.ts'
import { deleteExpired } from './loadedQueries.ts'
import {
  confirmTime,
  dueSegments,
  type Segment,
  stateArchiveFormat,
  type TieringStatus,
  tieringStatus,
} from './queries.ts'
import { type RetentionStatus, retentionStatus } from './retention/queries.ts'
import { Retention } from './retention/retention.ts'
import { Remainders, type RemaindersResult } from './setAside/remainders.ts'
import type { Probe } from './step.ts'
import { StoppedError } from './stopped.ts'

export interface TieringOptions {
  /** A direct connection: the job's lock belongs to its session. Read for each connection. */
  readonly url: string
  readonly connectTimeoutMs: number
  readonly store: ObjectStore
  /** How often to look for segments that are due. */
  readonly intervalMs: number
  /** Between the request of an erasure by age and the erasure. */
  readonly retentionGraceMs: number
  /** Milliseconds on a clock that never jumps. */
  readonly monotonic?: () => number
  /** Verifies digests and hash chain of what is copied. */
  readonly follow?: FollowChain
  readonly log: Log
  readonly metrics: Metrics
  readonly onProgress?: (progress: Readonly<MoveProgress>) => void
  readonly onMoved?: (moved: Readonly<MoveProgress>) => void
  readonly vacuumRest?: VacuumRest
  readonly probe?: Probe
  /** How many sessions that are set aside a pass looks at. */
  readonly setAsidePerPass?: number
  /** While it is idle, it looks only now and then. */
  readonly idleness?: Idleness
}

export type PassResult =
  | { readonly ran: false; readonly why: 'held' | 'not_allowed' }
  | { readonly ran: true; readonly moved: readonly MoveProgress[] }

/** Taking a partition away needs its owner. */
export const TIERING: Job = { name: 'tiering', table: 'events', statementTimeout: '30min' }

/** In the ordinary course it is two hours at most (sql/confirm_time.sql), and the time between two passes. */
const MAX_BEHIND_SECONDS = 3 * 3600

const RETRY_BASE_MS = 1000
const RETRY_MAX_MS = 60_000

/**
 * Moves segments that are due, on one node at a time: whoever holds the lock. The lock, the notes in the manifest and
 * the move itself are on one connection, so a node that lost its lock cannot finish anything; what it may still write
 * is an object of the very name and content that its successor writes.
 */
export class TieringJob {
  readonly #options: TieringOptions
  readonly #stopping = new AbortController()
  readonly #retention: Retention
  readonly #vacuumRest: VacuumRest
  #running: Promise<void> | undefined
  #status: TieringStatus = { pendingEvents: 0, lagSeconds: 0, setAside: 0 }
  #erasures: ErasureStatus = { pending: 0, oldestSeconds: 0 }
  #retentionStatus: RetentionStatus = { requests: 0, clockTrusted: true }
  #wake: (() => void) | undefined
  #isWanted = false
  #lookedAt = 0
  #foundOutAt = 0
  #isBehind = false

  constructor(options: TieringOptions) {
    this.#options = options
    this.#vacuumRest = options.vacuumRest ?? new VacuumRest()
    const { log, retentionGraceMs: graceMs, monotonic } = options
    const { signal } = this.#stopping
    this.#retention = new Retention({ graceMs, log, signal, ...(monotonic && { monotonic }) })
  }

  /** As it was when this node last looked, whoever runs the job. */
  get status(): TieringStatus {
    return this.#status
  }

  /** The same for erasures. */
  get erasures(): ErasureStatus {
    return this.#erasures
  }

  /** The same for erasing by age. */
  get retention(): RetentionStatus {
    return this.#retentionStatus
  }

  /** Of performance.now(), when it last found out what there is to move and to erase; 0: not yet, or it is at it. */
  get lookedAt(): number {
    return this.#lookedAt
  }

  /** There is something to erase: the next pass begins at once, instead of at its time. */
  wake(): void {
    this.#isWanted = true
    this.#wake?.()
  }

  start(): void {
    this.#running ??= this.#run()
  }

  /** Cuts a pass that is under way; the next one, anywhere, goes on from there. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
  }

  /**
   * Erases what is to be erased and moves all that is due now. `ran: false`: another node is at it, or this one's role
   * may not. Rejects at the first segment that fails; an erasure that fails does not keep segments from being moved.
   */
  async pass(): Promise<PassResult> {
    const { signal } = this.#stopping
    this.#lookedAt = 0
    this.#foundOutAt = 0
    let done: JobResult<MoveProgress[]>
    try {
      done = await runAlone(
        TIERING,
        { ...this.#options, signal },
        (session) => this.#eraseAndMove(session),
        (session) => this.#look(session), // so lag shows on every node
      )
    } catch (cause) {
      throw signal.aborted ? new StoppedError('moving segments was interrupted', { cause }) : cause
    }
    this.#lookedAt = this.#foundOutAt
    return done.ran ? { ran: true, moved: done.result } : done
  }

  async #look(session: DbSession): Promise<void> {
    const at = performance.now()
    this.#status = await tieringStatus(session)
    this.#erasures = await erasureStatus(session)
    this.#retentionStatus = await retentionStatus(session)
    this.#foundOutAt = at
  }

  async #eraseAndMove(session: DbSession): Promise<MoveProgress[]> {
    const { store, log, metrics, probe } = this.#options
    const { signal } = this.#stopping
    const eraser = new Eraser({
      session,
      store,
      signal,
      log,
      vacuumRest: this.#vacuumRest,
      onDone: ({ kind, seconds }) => metrics.erased(kind, seconds),
      ...(probe && { probe }),
    })
    await stateArchiveFormat(session)
    let failure: { readonly cause: unknown } | undefined
    const erase = async () => {
      failure = await eraser.run().then(
        () => undefined,
        (cause: unknown) => ({ cause }),
      )
    }
    await deleteExpired(session)
    const asked = await this.#retention.pass(session).then(
      () => undefined,
      (cause: unknown) => ({ cause }),
    )
    await erase()
    const moved = await this.#moveDue(session, erase)
    const failed = failure ?? asked
    if (failed) throw failed.cause
    return moved
  }

  /** `erase` is called after each move: for what has waited for it, or has come meanwhile. */
  async #moveDue(session: DbSession, erase: () => Promise<void>): Promise<MoveProgress[]> {
    const { store, log, follow = chainFollower(), onProgress, probe, setAsidePerPass } = this.#options
    const common = { session, store, signal: this.#stopping.signal, follow, log, ...(probe && { probe }) }
    const archiver = new Archiver({ ...common, ...(onProgress && { onProgress }) })
    const remainders = new Remainders({
      ...common,
      ...(setAsidePerPass && { sessionsPerPass: setAsidePerPass }),
    })
    const moved: MoveProgress[] = []
    const failures: unknown[] = []
    // Empty partitions may wait for the end of somebody's long transaction; events need not.
    const drop = async (segment: string) => {
      if (failures.length === 0) await archiver.drop(segment).catch((cause: unknown) => failures.push(cause))
    }
    const move = async (segments: readonly Segment[]) => {
      for (const segment of segments) {
        this.#status = await tieringStatus(session)
        const progress = await this.#moveOne(archiver, segment)
        if (progress !== undefined) {
          moved.push(progress)
          await erase()
        }
        if (progress === undefined || progress.kept === 0) await drop(segment.name)
      }
    }
    const due = await this.#due(session)
    // A session may come back only while no segment is under way that was planned without it.
    const underWay = due.findLastIndex(({ state }) => state !== 'hot') + 1
    await move(due.slice(0, underWay))
    let failure: RemaindersResult['failure']
    try {
      const { empty, hasMoved, ...rest } = await remainders.run()
      failure = rest.failure
      if (hasMoved) await erase()
      for (const segment of empty) await drop(segment)
    } catch (cause) {
      if (cause instanceof StoppedError) throw cause
      failures.push(cause)
    }
    await move(due.slice(underWay))
    if (failure) failures.push(failure.cause)
    if (failures.length > 0) throw failures[0]
    return moved
  }

  async #due(session: DbSession): Promise<Segment[]> {
    const { confirmed, behindSeconds } = await confirmTime(session)
    const isBehind = behindSeconds > MAX_BEHIND_SECONDS
    if (isBehind && !this.#isBehind)
      this.#options.log.warn(
        { confirmed },
        "the database's clock has jumped ahead, or no job has run for long: segments that end later wait for an hour or two",
      )
    this.#isBehind = isBehind
    return dueSegments(session, confirmed)
  }

  /** Undefined when it had moved before. */
  async #moveOne(archiver: Archiver, segment: Segment): Promise<MoveProgress | undefined> {
    const { log, metrics, onMoved } = this.#options
    const started = performance.now()
    const progress = await archiver.move(segment)
    if (segment.state === 'moved') return undefined
    const seconds = (performance.now() - started) / 1000
    metrics.segmentMoved(progress.events, progress.bytes, seconds)
    log.info({ ...progress, seconds }, 'a segment was moved')
    onMoved?.(progress)
    return progress
  }

  async #run(): Promise<void> {
    const { intervalMs, log, metrics } = this.#options
    const { signal } = this.#stopping
    let isTold = false
    for (let failures = 0; !signal.aborted; ) {
      await this.#untilDue(failures === 0 ? intervalMs : jittered(failures, RETRY_BASE_MS, RETRY_MAX_MS))
      if (signal.aborted) return
      try {
        const result = await this.pass()
        if (!result.ran && result.why === 'not_allowed' && !isTold) {
          log.info(
            'the database user of this node may not move segments: another node, or npm run tier, has to',
          )
          isTold = true
        }
        failures = 0
      } catch (error) {
        if (error instanceof StoppedError) return
        failures += 1
        metrics.tieringFailed()
        log.warn({ err: error, failures }, 'moving segments failed; it is tried again')
      }
    }
  }

  async #untilDue(ms: number): Promise<void> {
    const due = new AbortController()
    this.#wake = () => due.abort()
    if (!this.#isWanted) {
      const { signal } = this.#stopping
      signal.addEventListener('abort', this.#wake, { once: true })
      if (!signal.aborted) await pause(ms, due.signal)
      await (this.#options.idleness ?? NEVER_IDLE).awakeOrDue(due.signal)
      signal.removeEventListener('abort', this.#wake)
    }
    this.#isWanted = false
  }
}
