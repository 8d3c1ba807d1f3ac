import { type Job, type JobResult, runAlone } from '../db/job.ts'
import type { DbSession } from '../db/session.ts'
import { type Idleness, NEVER_IDLE } from '../lib/idleness.ts'
import { Loop } from '../lib/loop.ts'
import type { MoveProgress } from './archiver.ts'
import { DueSegments } from './dueSegments.ts'
import { type ErasureStatus, erasureStatus } from './erase/queries.ts'
import { VacuumRest } from './erase/vacuumRest.ts'
import { type TieringStatus, tieringStatus } from './queries.ts'
import { type RetentionStatus, retentionStatus } from './retention/queries.ts'
import { Retention } from './retention/retention.ts'
import { StoppedError } from './stopped.ts'
import { type PassOptions, TieringPass } from './tieringPass.ts'

export interface TieringOptions extends PassOptions {
  /** A direct connection, because the job's lock belongs to its session. Read for each connection. */
  readonly url: string
  readonly connectTimeoutMs: number
  /** How often to look for segments that are due. */
  readonly intervalMs: number
  /** The time between the request of an erasure by age and the erasure. */
  readonly retentionGraceMs: number
  /** Milliseconds on a monotonic clock. */
  readonly monotonic?: () => number
  readonly vacuumRest?: VacuumRest
  /** While the node is idle, the job looks only now and then. */
  readonly idleness?: Idleness
}

export type PassResult =
  | { readonly ran: false; readonly why: 'held' | 'not_allowed' }
  | { readonly ran: true; readonly moved: readonly MoveProgress[] }

/** Detaching a partition requires its owner. */
export const TIERING: Job = { name: 'tiering', table: 'events', statementTimeout: '30min' }

/** A wake means that a caller waits for an erasure, which may not need what failed. */
const BACKOFF = { baseMs: 2000, maxMs: 60_000, isCutByWake: true }

/**
 * Moves segments that are due, on one node at a time: the one that holds the lock. The lock, the records in the
 * manifest and the move itself are on one connection, so a node that lost its lock cannot finish anything; an object
 * that it may still write has the name and content that its successor writes.
 */
export class TieringJob {
  readonly #options: TieringOptions
  readonly #loop: Loop
  readonly #retention: Retention
  readonly #vacuumRest: VacuumRest
  readonly #due: DueSegments
  #status: TieringStatus = { pendingEvents: 0, lagSeconds: 0, setAside: 0 }
  #erasures: ErasureStatus = { pending: 0, oldestSeconds: 0 }
  #retentionStatus: RetentionStatus = { requests: 0, clockTrusted: true }
  #lookedAt = 0
  #foundOutAt = 0
  #hasLoggedNotAllowed = false

  constructor(options: TieringOptions) {
    this.#options = options
    const { idleness = NEVER_IDLE } = options
    this.#loop = new Loop({
      pass: () => this.#passInTurn(),
      intervalMs: options.intervalMs,
      gate: (signal) => idleness.awakeOrDue(signal),
      backoff: BACKOFF,
      onFailure: (error, failures) => {
        options.metrics.tieringFailed()
        options.log.warn({ err: error, failures }, 'moving segments failed: retrying')
      },
    })
    this.#vacuumRest = options.vacuumRest ?? new VacuumRest()
    const { log, retentionGraceMs: graceMs, monotonic } = options
    this.#due = new DueSegments(log)
    const { signal } = this.#loop
    this.#retention = new Retention({ graceMs, log, signal, ...(monotonic && { monotonic }) })
  }

  /** The status as of this node's last look, whichever node runs the job. */
  get status(): TieringStatus {
    return this.#status
  }

  /** The same for erasures. */
  get erasures(): ErasureStatus {
    return this.#erasures
  }

  /** The same for erasure by age. */
  get retention(): RetentionStatus {
    return this.#retentionStatus
  }

  /**
   * When the job last found out what there is to move and to erase, on the clock of performance.now(); 0: not yet, or
   * a pass is running.
   */
  get lookedAt(): number {
    return this.#lookedAt
  }

  /** Starts the next pass at once, because there is something to erase. */
  wake(): void {
    this.#loop.wake()
  }

  start(): void {
    this.#loop.start()
  }

  /** Interrupts a running pass. The next one, on any node, continues from there. */
  stop(): Promise<void> {
    return this.#loop.stop()
  }

  /**
   * Erases what is to be erased and moves all that is due now. `ran: false`: another node holds the lock, or this
   * node's role may not. Rejects at the first segment that fails; an erasure that fails does not keep segments from
   * being moved.
   */
  async pass(): Promise<PassResult> {
    const { signal } = this.#loop
    this.#lookedAt = 0
    this.#foundOutAt = 0
    let done: JobResult<MoveProgress[]>
    try {
      done = await runAlone(
        TIERING,
        { ...this.#options, signal },
        (session) => this.#eraseAndMove(session),
        (session) => this.#look(session), // so that every node reports the lag
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

  #eraseAndMove(session: DbSession): Promise<MoveProgress[]> {
    return new TieringPass({
      ...this.#options,
      session,
      signal: this.#loop.signal,
      due: this.#due,
      retention: this.#retention,
      vacuumRest: this.#vacuumRest,
      onSegment: async () => {
        this.#status = await tieringStatus(session)
      },
    }).run()
  }

  async #passInTurn(): Promise<void> {
    const result = await this.pass()
    if (result.ran || result.why !== 'not_allowed' || this.#hasLoggedNotAllowed) return
    this.#hasLoggedNotAllowed = true
    this.#options.log.info(
      'tiering is disabled on this node: its database user may not move segments; run `starcite tier`, or another node',
    )
  }
}
