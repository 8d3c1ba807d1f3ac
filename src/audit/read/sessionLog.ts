import type { Problem } from '../../archive/problem.ts'
import type { Db } from '../../db/pool.ts'
import type { ObjectStore } from '../../objects/objectStore.ts'
import { type OpenedSlice, openOne } from './coldSlices.ts'
import { type HotRange, hotRunAt } from './hotEvents.ts'
import type { Peekable } from './peekable.ts'
import { type IndexedSlice, sliceAt } from './queries.ts'
import type { ColdSlice, SessionHead } from './scope.ts'

/** A contiguous run of a session's lines, as docs/archive-format.md describes them, each with its line feed. */
export interface LineRange {
  readonly is: 'range'
  readonly firstSeq: number
  readonly lastSeq: number
  readonly text: Buffer
  /** The slice that the lines come from; undefined: they come from Postgres. */
  readonly slice: ColdSlice | undefined
}

/** The reason why no more of this session can be read. */
export interface Fault {
  readonly is: 'fault'
  readonly problem: Problem
  /** The text that can be read of an object that was changed. */
  readonly text: Buffer | undefined
  /** The last seq of the slice that cannot be read. */
  readonly lastSeq: number
}

export type Piece = LineRange | Fault

export interface ReaderOptions {
  readonly db: Db
  readonly store: ObjectStore
  readonly signal: AbortSignal
  /** Called with each valid slice, in order. */
  readonly onSlice?: (slice: ColdSlice, member: Buffer) => void
}

export type AheadSlice = IndexedSlice & { readonly opened: OpenedSlice }

/**
 * How often an event that is in neither tier is looked up before it counts as missing, because a move may have
 * intervened.
 */
const LOOKS = 2

/** The log of one session of a group. Most of the group is read ahead. */
export class SessionLog {
  readonly head: SessionHead
  readonly #options: ReaderOptions
  readonly #index: number
  readonly #cold: Peekable<AheadSlice>
  readonly #hot: Peekable<HotRange>
  #next: number

  constructor(
    options: ReaderOptions,
    index: number,
    head: SessionHead,
    cold: Peekable<AheadSlice>,
    hot: Peekable<HotRange>,
  ) {
    this.#options = options
    this.#index = index
    this.head = head
    this.#cold = cold
    this.#hot = hot
    this.#next = head.fromSeq
  }

  /** The log's parts in order, from `fromSeq` to `toSeq`. Read them before those of the next session. */
  async *pieces(): AsyncGenerator<Piece, void> {
    yield* this.#readAhead()
    if (this.#next <= this.head.toSeq) yield* this.#lookAgain()
  }

  /** Yields what was read ahead, and stops at the first deviation. */
  async *#readAhead(): AsyncGenerator<Piece, void> {
    const { fromSeq } = this.head
    for (;;) {
      const it = await this.#cold.takeOf(this.#index)
      if (it === undefined) break
      const { slice, opened } = it
      if (slice.firstSeq < this.#next && this.#next > fromSeq)
        return yield duplicate(
          slice.firstSeq,
          `a slice of ${slice.object.key} and an earlier slice both have it`,
        )
      if (slice.firstSeq > this.#next || opened.fault !== undefined) return
      this.#options.onSlice?.(slice, opened.member)
      yield this.#range(slice, opened.text, slice)
    }
    for (;;) {
      const it = await this.#hot.takeOf(this.#index)
      if (it === undefined) return
      if (it.firstSeq < this.#next) return yield duplicate(it.firstSeq, 'Postgres has it twice')
      if (it.firstSeq > this.#next) return
      yield this.#range(it, it.text, undefined)
    }
  }

  async *#lookAgain(): AsyncGenerator<Piece, void> {
    const { head } = this
    const { db, store, signal } = this.#options
    for (let looks = 1; this.#next <= head.toSeq; ) {
      const slice = await sliceAt(db, head.sid, this.#next)
      if (slice !== undefined) {
        const opened = await openOne(store, slice, signal)
        if (opened.fault === undefined) yield this.#range(slice, opened.text, slice)
        else if (isSame(slice, await sliceAt(db, head.sid, this.#next))) {
          const { fault: reason, detail } = opened
          const seq = Math.max(this.#next, slice.firstSeq)
          const text = opened.fault === 'object_changed' ? opened.text : undefined
          return yield { is: 'fault', problem: { seq, reason, detail }, text, lastSeq: slice.lastSeq }
        }
        continue
      }
      const hot = await hotRunAt(db, head, this.#next, head.toSeq)
      if (hot !== undefined) {
        yield this.#range(hot, hot.text, undefined)
        looks = 1
      } else if (looks < LOOKS) looks += 1
      else {
        const detail = 'it is neither in Postgres nor in an object of the manifest'
        return yield {
          is: 'fault',
          problem: { seq: this.#next, reason: 'missing', detail },
          text: undefined,
          lastSeq: this.#next,
        }
      }
    }
  }

  #range(
    { firstSeq, lastSeq }: { firstSeq: number; lastSeq: number },
    text: Buffer,
    slice: ColdSlice | undefined,
  ): LineRange {
    this.#next = lastSeq + 1
    return { is: 'range', firstSeq, lastSeq, text, slice }
  }
}

const duplicate = (seq: number, detail: string): Fault => ({
  is: 'fault',
  problem: { seq, reason: 'duplicate', detail },
  text: undefined,
  lastSeq: seq,
})

const isSame = (slice: ColdSlice, now: ColdSlice | undefined) =>
  now?.object.key === slice.object.key && now.offset === slice.offset && now.sha256 === slice.sha256
