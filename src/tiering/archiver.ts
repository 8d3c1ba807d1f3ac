import type { FollowChain } from '../archive/followChain.ts'
import type { Problem } from '../archive/problem.ts'
import { appended, Pace } from '../db/pace.ts'
import type { DbSession } from '../db/session.ts'
import { readAhead } from '../lib/readAhead.ts'
import type { ObjectStore } from '../objects/objectStore.ts'
import type { Log } from '../ops/log.ts'
import { ObjectWriter } from './copy/objectWriter.ts'
import { PACKER_BOUNDS, Packer } from './copy/packer.ts'
import { portions, remainder } from './copy/portions.ts'
import * as copying from './copy/queries.ts'
import { RunCheck } from './copy/runCheck.ts'
import * as queries from './queries.ts'
import { hasUncopied, letRepairsPass, setAside, switchPartly } from './setAside/queries.ts'
import type { Probe } from './step.ts'
import { StoppedError } from './stopped.ts'

export interface MoveProgress {
  readonly segment: string
  /** Events read so far; `events` counts those that are in objects. */
  read: number
  events: number
  objects: number
  bytes: number
  /** Events of sessions that are set aside. They stay in Postgres. */
  kept: number
}

export interface ArchiverOptions {
  readonly session: DbSession
  readonly store: ObjectStore
  readonly signal: AbortSignal
  /** Verifies digests and hash chain of what is copied. */
  readonly follow: FollowChain
  readonly log: Log
  readonly onProgress?: (progress: Readonly<MoveProgress>) => void
  readonly probe?: Probe
}

/** Damaged sessions of one segment that are logged one by one; of more only the number is logged. */
const MAX_LOGGED = 20

const RUNS_PER_FETCH = 1000
/** The most bytes that one read fetches, regardless of the average size. One event may be larger. */
const MAX_READ_BYTES = 8 * 1024 * 1024

/**
 * Moves one segment out of the hot tables: hot → closed → moved → dropped (migrations/0003_tiering.sql describes the
 * states). Every step is idempotent, so a run that was interrupted anywhere is simply repeated.
 */
export class Archiver {
  readonly #options: ArchiverOptions

  constructor(options: ArchiverOptions) {
    this.#options = options
  }

  /** Runs until readers read the segment's events from objects. Returns what this run copied. */
  async move({ name, state }: queries.Segment): Promise<MoveProgress> {
    const { session, probe } = this.#options
    const progress: MoveProgress = { segment: name, read: 0, events: 0, objects: 0, bytes: 0, kept: 0 }
    if (state === 'moved') return progress
    this.#damaged = 0
    const isWhole = (await queries.attachment(session, name)) === 'attached'
    if (!isWhole) {
      await queries.restorePartition(session, name)
      this.#options.log.error(
        { segment: name },
        'segment partition was missing: it was created again empty, and the dropped events are lost',
      )
    }
    if (state === 'hot' || !isWhole) {
      await queries.closeSegment(session, name)
      await probe?.('closed')
    }
    await this.#copy(name, progress)
    if (this.#damaged > MAX_LOGGED)
      this.#options.log.error(
        { segment: name, sessions: this.#damaged },
        'sessions set aside: their logs are damaged',
      )
    await probe?.('copied')
    progress.kept = await this.#switch(name)
    await probe?.('switched')
    return progress
  }

  /** Detaches and drops the empty partition of a moved segment. */
  async drop(segment: string): Promise<void> {
    const { session, probe } = this.#options
    const attachment = await queries.attachment(session, segment)
    if (attachment === 'attached' || attachment === 'pending')
      await queries.detachSegment(session, segment, attachment === 'pending')
    await probe?.('detached')
    await queries.dropSegment(session, segment)
    await probe?.('dropped')
  }

  async #copy(segment: string, progress: MoveProgress): Promise<void> {
    const { session, store, signal, probe } = this.#options
    const writer = new ObjectWriter({
      store,
      segment,
      signal,
      probe,
      record: async (key, object) => {
        await copying.recordObject(session, segment, key, object)
        progress.events += object.events
        progress.objects += 1
        progress.bytes += object.body.length
        this.#options.onProgress?.(progress)
      },
    })
    try {
      const check = new RunCheck({
        ...this.#options,
        onDamage: (run, damage) => this.#setAside(run, damage),
      })
      const packer = new Packer<copying.Run>(
        (object) => writer.add(object),
        PACKER_BOUNDS,
        (run, slice) => check.check(run, slice),
      )
      for await (const events of readAhead(this.#read(segment))) {
        progress.read += events.length
        this.#options.onProgress?.(progress)
        for (const { run, event } of events) {
          const wait = packer.add(run, event)
          if (wait) await wait
        }
      }
      await packer.finish()
      await writer.finish()
    } finally {
      await writer.stop()
    }
  }

  /** The events that are still to be copied, in the order of packing. */
  async *#read(segment: string): AsyncGenerator<copying.RunEvent[], void> {
    const { session, signal } = this.#options
    const pace = new Pace({ appended: () => appended(session), signal })
    await pace.begin()
    await copying.openRuns(session, segment, await copying.progressOf(session, segment))
    for (;;) {
      const runs = await copying.fetchRuns(session, RUNS_PER_FETCH)
      if (runs.length === 0) break
      for (const portion of portions(runs))
        for (let rest = portion; rest.length > 0; ) {
          if (signal.aborted) throw new StoppedError(`moving ${segment} was interrupted`)
          const started = performance.now()
          const events = await copying.readRuns(session, segment, rest, MAX_READ_BYTES)
          await pace.rest(events.length, performance.now() - started)
          yield events
          rest = remainder(rest, events.at(-1))
        }
    }
    await copying.closeRuns(session)
  }

  #damaged = 0

  /** Sets the session aside: no more of it is copied, here and in later segments, until it is repaired or given up. */
  async #setAside({ tenantId, sessionId, sid }: copying.Run, damage: Problem): Promise<void> {
    const { session, log } = this.#options
    await setAside(session, sid, damage)
    this.#damaged += 1
    if (this.#damaged <= MAX_LOGGED)
      log.error(
        { tenant: tenantId, session: sessionId, sid, ...damage },
        'session set aside: its log is damaged',
      )
  }

  /** Returns how many events the segment keeps. */
  async #switch(segment: string): Promise<number> {
    const { session, probe } = this.#options
    const { hot, copied } = await copying.countEvents(session, segment)
    // With more copies than events, rows that were verified when they were copied have been deleted since.
    if (hot === copied || !(await hasUncopied(session, segment))) {
      await queries.switchSegment(session, segment, copied)
      return 0
    }
    const kept = await switchPartly(session, segment, copied)
    await probe?.('kept')
    await letRepairsPass(session, segment)
    return kept
  }
}
