import { keyPrefix, successorKey } from '../../archive/objectKey.ts'
import type { DbSession } from '../../db/session.ts'
import { DamagedObjectError, type ObjectStore, ObjectStoreError } from '../../objects/objectStore.ts'
import type { Log } from '../../ops/log.ts'
import { storeVerified } from '../copy/storeVerified.ts'
import { emptyLoaded } from '../loadedQueries.ts'
import { letErasuresPass } from '../queries.ts'
import type { Probe } from '../step.ts'
import { StoppedError } from '../stopped.ts'
import * as leftovers from './leftoverQueries.ts'
import * as objects from './objectQueries.ts'
import * as queries from './queries.ts'
import { rewrite } from './rewrite.ts'
import type { VacuumRest } from './vacuumRest.ts'

export interface EraserOptions {
  /** Holds the job's lock, so no segment is being moved meanwhile, and no other node erases. */
  readonly session: DbSession
  readonly store: ObjectStore
  readonly signal: AbortSignal
  readonly log: Log
  readonly vacuumRest: VacuumRest
  readonly onDone?: (done: queries.Done) => void
  readonly probe?: Probe
}

/** Erasures that are processed together, so that an object which several of them cover is rewritten once. */
const BATCH = 200
const ROWS_PER_STEP = 1000

/**
 * Removes the content that erasures cover, in steps: rows are emptied, also the copies of `starcite audit load`;
 * objects are rewritten and switched, and the old ones deleted; objects that are not in the manifest are deleted; the
 * erasure is done (migrations/0007_erasure.sql). Each step is committed before the next and is idempotent, so a run
 * that was interrupted anywhere is simply repeated.
 */
export class Eraser {
  readonly #options: EraserOptions

  constructor(options: EraserOptions) {
    this.#options = options
  }

  /**
   * Processes every pending erasure. An erasure that covers events of a segment which is being copied waits for its
   * move, because a copy that is not in the manifest yet may still be in use. Rejects when something could not be
   * removed; everything else is removed all the same.
   */
  async run(): Promise<void> {
    const { session } = this.#options
    const failures: unknown[] = []
    await letErasuresPass(session)
    await this.#deleteSuperseded()
    for (let after = '0'; ; ) {
      const batch = await queries.pendingErasures(session, after, BATCH)
      const last = batch.at(-1)
      if (last === undefined) break
      after = last.erasureId
      try {
        failures.push(...(await this.#erase(batch)))
      } catch (error) {
        // A store that is unreachable or a broken connection would fail the next batch, too.
        await queries.noteFailure(session, idsOf(batch), messageOf(error)).catch(() => {})
        throw error
      }
    }
    await this.#recheck()
    if (failures.length > 0) throw failures[0]
  }

  async #erase(batch: readonly queries.Erasure[]): Promise<unknown[]> {
    const { session, log, probe, onDone, vacuumRest } = this.#options
    for (const erasure of batch) await this.#emptyRows(erasure)
    await emptyLoaded(session, idsOf(batch))
    await probe?.('emptied')
    const failed = await this.#rewriteObjects(batch)
    await this.#deleteSuperseded()

    const waiting = await queries.waitingForMoves(session, idsOf(batch))
    const mayVacuum = vacuumRest.isOver
    const finished = batch.filter(
      ({ erasureId, vacuum }) => !failed.has(erasureId) && !waiting.has(erasureId) && (mayVacuum || !vacuum),
    )
    if (finished.length === 0) return [...failed.values()]
    await this.#sweep(idsOf(finished))
    await probe?.('swept')
    const vacuumed = finished.filter((it) => it.vacuum)
    if (vacuumed.length > 0) await vacuumRest.after(() => queries.vacuum(session, vacuumed))
    for (const done of await queries.markDone(session, idsOf(finished))) {
      log.info(done, 'content erased')
      onDone?.(done)
    }
    await probe?.('erased')
    return [...failed.values()]
  }

  async #emptyRows(erasure: queries.Erasure): Promise<void> {
    if (erasure.sid === null) return
    for (let from: number | undefined = erasure.firstSeq; from !== undefined; ) {
      this.#throwIfStopped()
      const last = await queries.emptyRows(this.#options.session, erasure, from, ROWS_PER_STEP)
      from = last === undefined ? undefined : last + 1
    }
  }

  /** Returns the erasures that failed at one of their objects, each with the reason. */
  async #rewriteObjects(batch: readonly queries.Erasure[]): Promise<Map<string, unknown>> {
    const { session, log } = this.#options
    const failed = new Map<string, unknown>()
    for (const object of await objects.affectedObjects(session, idsOf(batch))) {
      this.#throwIfStopped()
      const ids = idsOf(batch).filter((id) => !failed.has(id))
      try {
        await this.#rewriteObject(object, ids)
      } catch (error) {
        if (!isOfOneObject(error)) throw error
        const slices = await objects.slicesOf(session, object.objectId, ids)
        const met = [...new Set(slices.flatMap((it) => it.redactions.map(({ erasureId }) => erasureId)))]
        for (const id of met) failed.set(id, error)
        log.error({ err: error, key: object.key, erasures: met.length }, 'object rewrite failed')
        await queries.noteFailure(session, met, messageOf(error))
      }
    }
    return failed
  }

  async #rewriteObject(object: objects.OldObject, erasureIds: readonly string[]): Promise<void> {
    const { session, store, signal, probe } = this.#options
    const slices = await objects.slicesOf(session, object.objectId, erasureIds)
    const met = [...new Set(slices.flatMap((it) => it.redactions.map(({ erasureId }) => erasureId)))]
    if (met.length === 0) return
    const rewritten = await rewrite(object.key, await store.get(object.key, signal), slices)
    if (rewritten === undefined) return objects.noteProgress(session, object.objectId, met, new Map())

    const key = successorKey(object.segment, { ...object, sha256: rewritten.sha256 })
    await storeVerified(store, key, rewritten, { signal, onStored: () => probe?.('rewritten') })
    await session.transaction(async () => {
      await objects.replaceObject(session, object, key, rewritten, met)
      await objects.noteProgress(session, object.objectId, met, rewritten.events)
    })
    await probe?.('replaced')
    await this.#deleteSuperseded()
  }

  async #deleteSuperseded(): Promise<void> {
    const { session, store, signal, probe } = this.#options
    for (const key of await leftovers.supersededObjects(session)) {
      this.#throwIfStopped()
      await store.delete(key, signal)
      await probe?.('deleted')
      await leftovers.forgetSuperseded(session, key)
    }
  }

  /**
   * Deletes what interrupted moves and rewrites have left in the store. The keys are listed first, and then looked up
   * in the manifest on the connection that holds the lock, so the process that wrote them had lost or released the
   * lock before.
   */
  async #sweep(erasureIds: readonly string[]): Promise<void> {
    const { session, store, signal, log } = this.#options
    for (const { tenantId, segment } of await leftovers.prefixesOf(session, erasureIds)) {
      this.#throwIfStopped()
      const keys: string[] = []
      for await (const { key } of store.list(keyPrefix(segment, tenantId), signal)) keys.push(key)
      for (const key of await leftovers.unnamed(session, keys)) {
        await store.delete(key, signal)
        log.info({ key }, 'deleted an object that is not in the manifest')
      }
    }
  }

  /** Sweeps once more, because a process that lost the lock may have written one more object after the first sweep. */
  async #recheck(): Promise<void> {
    const { session } = this.#options
    const due = await queries.dueForRecheck(session, BATCH)
    if (due.length === 0) return
    await this.#sweep(due)
    await queries.markRechecked(session, due)
  }

  #throwIfStopped(): void {
    if (this.#options.signal.aborted) throw new StoppedError('erasing was interrupted')
  }
}

const idsOf = (erasures: readonly queries.Erasure[]) => erasures.map(({ erasureId }) => erasureId)

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))

/** Whether the failure is one of this object only, so that other objects may succeed. */
const isOfOneObject = (error: unknown): boolean =>
  error instanceof DamagedObjectError ||
  (error instanceof ObjectStoreError && (error.kind === 'missing' || error.kind === 'damaged'))
