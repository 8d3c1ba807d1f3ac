import { type Job, runAlone } from '../../db/job.ts'
import type { DbSession } from '../../db/session.ts'
import { type Idleness, NEVER_IDLE } from '../../lib/idleness.ts'
import { Loop } from '../../lib/loop.ts'
import type { ObjectStore } from '../../objects/objectStore.ts'
import type { Log } from '../../ops/log.ts'
import type { Metrics } from '../../ops/metrics.ts'
import type { SignedCheckpoint } from './checkpoint.ts'
import { Checkpointer, type CheckpointerOptions } from './checkpointer.ts'
import { type CheckpointStatus, checkpointStatus } from './queries.ts'
import type { Signer } from './signer.ts'

export interface CheckpointJobOptions extends Pick<CheckpointerOptions, 'maxLeaves' | 'probe'> {
  /** A direct connection as the owner of the tables: the job's lock belongs to its session. */
  readonly url: string
  readonly connectTimeoutMs: number
  readonly store: ObjectStore
  readonly signer: Signer
  /** The time from one checkpoint to the next, whichever node takes it. */
  readonly intervalMs: number
  readonly log: Log
  readonly metrics: Metrics
  /** While the node is idle, checkpoints are taken only now and then. */
  readonly idleness?: Idleness
}

export type CheckpointResult =
  | { readonly ran: false; readonly why: 'held' | 'not_allowed' | 'not_due' }
  | { readonly ran: true; readonly taken: readonly SignedCheckpoint[] }

/** Only the owner of the table may write checkpoints. */
const CHECKPOINTS: Job = { name: 'checkpoints', table: 'checkpoints', statementTimeout: '10min' }

/** Contradictions that are logged one by one at each checkpoint. After a restore there may be one for every session. */
const MAX_LOGGED = 20

const MIN_REST_MS = 1000
const BACKOFF = { baseMs: 2000, maxMs: 60_000 }

/**
 * Takes a checkpoint at an interval, on one node at a time: the one that holds the lock. The lock, the gathered heads
 * and the row of the checkpoint are on one connection, so a node that lost its lock cannot record anything. Should
 * two nodes ever run at a time, the primary key of the table admits one of them.
 */
export class CheckpointJob {
  readonly #options: CheckpointJobOptions
  readonly #loop: Loop
  #status: CheckpointStatus = { number: 0, ageSeconds: 0, contradictions: 0 }
  #statusAt = performance.now()
  #coveredAt = 0
  #hasLoggedNotAllowed = false
  readonly #createdAt = performance.now()

  constructor(options: CheckpointJobOptions) {
    this.#options = options
    const { idleness = NEVER_IDLE } = options
    this.#loop = new Loop({
      pass: () => this.#passIfDue(),
      intervalMs: options.intervalMs,
      firstInMs: 0, // a node that starts finds out at once how old the newest checkpoint is
      gate: (signal) => idleness.awakeOrDue(signal),
      backoff: BACKOFF,
      onFailure: (error, failures) => {
        options.metrics.checkpointFailed()
        options.log.warn({ err: error, failures }, 'taking a checkpoint failed: retrying')
      },
    })
  }

  /** The newest checkpoint as of this node's last look, whichever node took it. */
  get number(): number {
    return this.#status.number
  }

  /**
   * Logs that contradict what was signed, as of this node's last look, without those whose discontinuity was
   * recorded.
   */
  get contradictions(): number {
    return this.#status.contradictions
  }

  /** Seconds since the newest checkpoint; while there is none, since this node's first look. */
  get ageSeconds(): number {
    if (this.#status.number === 0) return (performance.now() - this.#createdAt) / 1000
    return this.#status.ageSeconds + (performance.now() - this.#statusAt) / 1000
  }

  /**
   * The time up to which appends are covered by a checkpoint, or are for another node to cover, on the clock of
   * performance.now(); 0 while a pass is running.
   */
  get coveredAt(): number {
    return this.#coveredAt
  }

  start(): void {
    this.#loop.start()
  }

  /** Interrupts a running pass. The next one, on any node, starts it again or completes it. */
  stop(): Promise<void> {
    return this.#loop.stop()
  }

  /** Stores what is not stored yet, and takes a checkpoint if the newest is older than `minAgeMs`. */
  async pass(minAgeMs = 0): Promise<CheckpointResult> {
    const done = await runAlone(
      CHECKPOINTS,
      { ...this.#options, signal: this.#loop.signal },
      (session) => this.#take(session, minAgeMs),
      (session) => this.#look(session), // so that every node reports the age
    )
    return done.ran ? done.result : done
  }

  async #look(session: DbSession): Promise<void> {
    this.#status = await checkpointStatus(session)
    this.#statusAt = performance.now()
  }

  async #take(session: DbSession, minAgeMs: number): Promise<CheckpointResult> {
    const { store, signer, maxLeaves, probe, log, metrics } = this.#options
    let contradictions = 0
    const checkpointer = new Checkpointer({
      session,
      store,
      signer,
      signal: this.#loop.signal,
      onAdopted: ({ number }) =>
        log.warn({ number }, 'checkpoint recorded again from the object store: was the database restored?'),
      onContradiction: (it) => {
        contradictions += 1
        if (contradictions <= MAX_LOGGED)
          log.error(
            { ...it },
            'log contradicts a checkpoint: its session is no longer signed (docs/proofs.md, "Contradictions")',
          )
      },
      onLeavesGone: (number) =>
        log.error({ number }, 'leaves of a checkpoint are missing from the object store'),
      ...(maxLeaves && { maxLeaves }),
      ...(probe && { probe }),
    })
    await checkpointer.finish()
    const { number, ageSeconds } = await checkpointStatus(session)
    if (number > 0 && ageSeconds * 1000 < minAgeMs) return { ran: false, why: 'not_due' }
    const taken: SignedCheckpoint[] = []
    let started = performance.now()
    await checkpointer.take((checkpoint) => {
      const seconds = (performance.now() - started) / 1000
      const { number, leaves } = checkpoint
      metrics.checkpointTaken(leaves, seconds)
      log.info({ number, leaves, seconds }, 'checkpoint taken')
      taken.push(checkpoint)
      started = performance.now()
    })
    if (contradictions > MAX_LOGGED)
      log.error({ contradictions }, 'logs contradict checkpoints: more than are logged one by one')
    return { ran: true, taken }
  }

  /** Resolves with the milliseconds until the next checkpoint is due. */
  async #passIfDue(): Promise<number> {
    const { intervalMs, log } = this.#options
    const started = performance.now()
    this.#coveredAt = 0
    const result = await this.pass(intervalMs)
    if (!result.ran && result.why === 'not_allowed' && !this.#hasLoggedNotAllowed) {
      log.info(
        'checkpoints are disabled on this node: its database user may not take them; another node has to',
      )
      this.#hasLoggedNotAllowed = true
    }
    // Nodes wake at different times; the first one to find a checkpoint due takes it.
    this.#coveredAt = isOthers(result) ? started : performance.now() - this.ageSeconds * 1000
    const isKnown = result.ran || result.why === 'not_due'
    return isKnown ? Math.max(MIN_REST_MS, intervalMs - this.ageSeconds * 1000) : intervalMs
  }
}

const isOthers = (result: CheckpointResult): boolean =>
  !result.ran && (result.why === 'held' || result.why === 'not_allowed')
