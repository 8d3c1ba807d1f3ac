import type { DbSession } from '../db/session.ts'
import type { ObjectStore } from '../objects/objectStore.ts'
import { objectKey, storeVerified } from './archive.ts'
import { type PackedObject, Packer } from './packer.ts'
import * as queries from './queries.ts'

/** The points between the steps of a move. Tests stop a process at each; nothing else listens. */
export type Step =
  | 'closed'
  | 'stored'
  | 'verified'
  | 'recorded'
  | 'copied'
  | 'switched'
  | 'detached'
  | 'dropped'
export type Probe = (step: Step) => unknown

export interface MoveProgress {
  readonly segment: string
  events: number
  objects: number
  bytes: number
}

export interface MoverOptions {
  readonly session: DbSession
  readonly store: ObjectStore
  readonly signal: AbortSignal
  readonly onProgress?: (progress: Readonly<MoveProgress>) => void
  readonly probe?: Probe
}

/** Thrown when the job is told to stop; whatever was done stays done, and the next run goes on from there. */
export class StoppedError extends Error {
  override readonly name = 'StoppedError'
}

/** What one read of the partition brings into memory, at about these bounds. */
const READ_EVENTS = 4000
const READ_BYTES = 2 * 1024 * 1024
const RUNS_PER_FETCH = 1000

/**
 * Moves one segment out of the hot tables: hot → closed → moved → dropped (migrations/0003_tiering.sql tells the steps).
 * Every step may be repeated, so a run that was cut anywhere is simply run again.
 */
export class Mover {
  readonly #options: MoverOptions

  constructor(options: MoverOptions) {
    this.#options = options
  }

  async move(segment: queries.Segment): Promise<MoveProgress> {
    const { session } = this.#options
    const { name } = segment
    const progress: MoveProgress = { segment: name, events: 0, objects: 0, bytes: 0 }
    const { probe } = this.#options
    if (segment.state === 'hot') {
      await queries.closeSegment(session, name)
      await probe?.('closed')
    }
    if (segment.state !== 'moved') {
      await this.#copy(name, progress)
      await this.#switch(name)
      await probe?.('switched')
    }
    await this.#drop(name)
    await probe?.('dropped')
    return progress
  }

  async #copy(segment: string, progress: MoveProgress): Promise<void> {
    const { session } = this.#options
    const packer = new Packer((object) => this.#keep(segment, object, progress))
    await queries.openRuns(session, segment, await queries.progressOf(session, segment))
    for (;;) {
      const runs = await queries.fetchRuns(session, RUNS_PER_FETCH)
      if (runs.length === 0) break
      for (const part of portions(runs)) {
        if (this.#options.signal.aborted) throw new StoppedError(`moving ${segment} was interrupted`)
        for (const { run, event } of await queries.readRuns(session, segment, part))
          await packer.add(run, event)
      }
    }
    await packer.finish()
    await queries.closeRuns(session)
    await this.#options.probe?.('copied')
  }

  async #keep(segment: string, object: PackedObject, progress: MoveProgress): Promise<void> {
    const { session, store, probe, onProgress } = this.#options
    const key = objectKey(segment, object)
    await storeVerified(store, key, object, () => probe?.('stored'))
    await probe?.('verified')
    await queries.recordObject(session, segment, key, object)
    await probe?.('recorded')
    progress.events += object.events
    progress.objects += 1
    progress.bytes += object.body.length
    onProgress?.(progress)
  }

  async #switch(segment: string): Promise<void> {
    const { session } = this.#options
    const { hot, copied } = await queries.countEvents(session, segment)
    if (hot !== copied) throw new Error(`segment ${segment} has ${hot} events, its objects have ${copied}`)
    await queries.switchSegment(session, segment, copied)
  }

  async #drop(segment: string): Promise<void> {
    const { session, probe } = this.#options
    const attachment = await queries.attachment(session, segment)
    if (attachment === 'attached' || attachment === 'pending')
      await queries.detachSegment(session, segment, attachment === 'pending')
    await probe?.('detached')
    await queries.dropSegment(session, segment)
  }
}

/** Runs in portions that fit in memory; a long run is cut by its average event. */
function* portions(runs: readonly queries.Run[]): Generator<queries.Run[]> {
  let portion: queries.Run[] = []
  let [events, bytes] = [0, 0]
  for (const run of runs) {
    const averageBytes = Math.max(1, run.bytes / (run.lastSeq - run.firstSeq + 1))
    const most = Math.max(1, Math.min(READ_EVENTS, Math.floor(READ_BYTES / averageBytes)))
    for (let firstSeq = run.firstSeq; firstSeq <= run.lastSeq; firstSeq += most) {
      const lastSeq = Math.min(run.lastSeq, firstSeq + most - 1)
      portion.push({ ...run, firstSeq, lastSeq })
      events += lastSeq - firstSeq + 1
      bytes += (lastSeq - firstSeq + 1) * averageBytes
      if (events < READ_EVENTS && bytes < READ_BYTES) continue
      yield portion
      portion = []
      ;[events, bytes] = [0, 0]
    }
  }
  if (portion.length > 0) yield portion
}
