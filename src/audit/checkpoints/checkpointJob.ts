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
  /** A direct connection, of the tables' owner: the job's lock belongs to its session. */
  readonly url: string
  readonly connectTimeoutMs: number
  readonly store: ObjectStore
  readonly signer: Signer
  /** From one checkpoint to the next, whichever node takes it. */
  readonly intervalMs: number
  readonly log: Log
  readonly metrics: Metrics
  /** While it is idle, checkpoints are taken only now and then. */
  readonly idleness?: Idleness
}

export type CheckpointResult =
  | { readonly ran: false; readonly why: 'held' | 'not_allowed' | 'not_due' }
  | { readonly ran: true; readonly taken: readonly SignedCheckpoint[] }

/** Nobody but the owner may write checkpoints. */
const CHECKPOINTS: Job = { name: 'checkpoints', table: 'checkpoints', statementTimeout: '10min' }

/** Contradictions logged one by one at each checkpoint: a restore may make one of every session. */
const MAX_LOGGED = 20

const MIN_REST_MS = 1000
const BACKOFF = { baseMs: 2000, maxMs: 60_000 }

/**
 * Takes a checkpoint at an interval, on one node at a time: whoever holds the lock. The lock, what is gathered and the
 * note of a checkpoint are on one connection, so a node that lost its lock cannot note anything; and should two ever be
 * at it, the table's primary key lets one.
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
      firstInMs: 0, // a node that starts finds out at once how old the last one is
      gate: (signal) => idleness.awakeOrDue(signal),
      backoff: BACKOFF,
      onFailure: (error, failures) => {
        options.metrics.checkpointFailed()
        options.log.warn({ err: error, failures }, 'taking a checkpoint failed; it is tried again')
      },
    })
  }

  /** The newest checkpoint, whoever took it, as this node last looked. */
  get number(): number {
    return this.#status.number
  }

  /** Logs that contradict what was signed, as this node last looked; not those whose discontinuity was recorded. */
  get contradictions(): number {
    return this.#status.contradictions
  }

  /** Seconds since it was taken; while there is none, since this node began to look. */
  get ageSeconds(): number {
    if (this.#status.number === 0) return (performance.now() - this.#createdAt) / 1000
    return this.#status.ageSeconds + (performance.now() - this.#statusAt) / 1000
  }

  /** Of performance.now(): what was appended before is covered by a checkpoint, or is for another node to cover; 0: it is at it. */
  get coveredAt(): number {
    return this.#coveredAt
  }

  start(): void {
    this.#loop.start()
  }

  /** Cuts what is under way; the next pass, anywhere, begins or ends it anew. */
  stop(): Promise<void> {
    return this.#loop.stop()
  }

  /** Stores what is not stored yet, and takes a checkpoint if the last is older than `minAgeMs`. */
  async pass(minAgeMs = 0): Promise<CheckpointResult> {
    const done = await runAlone(
      CHECKPOINTS,
      { ...this.#options, signal: this.#loop.signal },
      (session) => this.#take(session, minAgeMs),
      (session) => this.#look(session), // so the age shows on every node
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
        log.warn({ number }, 'a checkpoint was only in the object store: was the database restored?'),
      onContradiction: (it) => {
        contradictions += 1
        if (contradictions <= MAX_LOGGED)
          log.error(
            { ...it },
            'a log contradicts a checkpoint: its session is signed no more (docs/proofs.md, "Contradictions")',
          )
      },
      onLeavesGone: (number) =>
        log.error({ number }, 'the leaves of a checkpoint are gone from the object store'),
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
      log.info({ number, leaves, seconds }, 'a checkpoint was taken')
      taken.push(checkpoint)
      started = performance.now()
    })
    if (contradictions > MAX_LOGGED)
      log.error({ contradictions }, 'more logs contradict checkpoints than are logged one by one')
    return { ran: true, taken }
  }

  /** Resolves with the milliseconds until the next checkpoint is due. */
  async #passIfDue(): Promise<number> {
    const { intervalMs, log } = this.#options
    const started = performance.now()
    this.#coveredAt = 0
    const result = await this.pass(intervalMs)
    if (!result.ran && result.why === 'not_allowed' && !this.#hasLoggedNotAllowed) {
      log.info('the database user of this node may not take checkpoints: another node has to')
      this.#hasLoggedNotAllowed = true
    }
    // Nodes wake at different times; the first that finds it due takes it.
    this.#coveredAt = isOthers(result) ? started : performance.now() - this.ageSeconds * 1000
    const isKnown = result.ran || result.why === 'not_due'
    return isKnown ? Math.max(MIN_REST_MS, intervalMs - this.ageSeconds * 1000) : intervalMs
  }
}

const isOthers = (result: CheckpointResult): boolean =>
  !result.ran && (result.why === 'held' || result.why === 'not_allowed')
