import type { Db } from '../db/pool.ts'
import type { Hub } from '../live/hub.ts'
import { type PageBounds, readHeads, readHotHistory } from '../live/queries.ts'
import type { Frame, Seq } from '../protocol/event.ts'

export interface HistoryRequest {
  readonly sid: string
  readonly lastSeq: Seq
  /** Exclusive; undefined with `desc`: from the end. */
  readonly cursor: Seq | undefined
  readonly limit: number
  readonly order: 'asc' | 'desc'
  readonly type: string | null
  readonly actor: string | null
  /** How long to wait for a first event when there is none past the cursor. */
  readonly waitMs: number
  /** Ends the waiting early. */
  readonly signal: AbortSignal
}

export interface HistoryPage {
  readonly frames: readonly Frame[]
  /** Where the next page goes on: past everything looked at, matching or not. Null: `desc` has reached the start. */
  readonly nextCursor: Seq | null
  readonly lastSeq: Seq
}

/** A filtered page looks at this many events at most, and then says how far it came. */
const MAX_SCAN_EVENTS = 20_000
const PAGE_BYTES = 8 * 1024 * 1024

/** Pages of history, in either direction, from whatever tier. */
export class History {
  readonly #db: Db
  readonly #hub: Hub

  constructor(db: Db, hub: Hub) {
    this.#db = db
    this.#hub = hub
  }

  async page(request: HistoryRequest): Promise<HistoryPage> {
    return request.order === 'desc' ? this.#backwards(request) : this.#forwards(request)
  }

  async #forwards(request: HistoryRequest): Promise<HistoryPage> {
    const subscription = request.waitMs > 0 ? this.#hub.register(request.sid) : undefined
    const deadline = new AbortController()
    const stopWaiting = () => deadline.abort()
    const timer = setTimeout(stopWaiting, request.waitMs)
    if (request.signal.aborted) stopWaiting()
    request.signal.addEventListener('abort', stopWaiting, { once: true })
    try {
      let cursor = request.cursor ?? 0
      for (let lastSeq = request.lastSeq; ; lastSeq = await this.#lastSeq(request.sid)) {
        while (cursor < lastSeq) {
          const below = Math.min(cursor + MAX_SCAN_EVENTS, lastSeq) + 1
          const { frames, more } = await this.#read(request, cursor, below)
          cursor = more ? (frames.at(-1)?.seq ?? cursor) : below - 1
          if (frames.length > 0 || request.waitMs === 0) return { frames, nextCursor: cursor, lastSeq }
        }
        if (subscription === undefined || deadline.signal.aborted)
          return { frames: [], nextCursor: cursor, lastSeq }
        await subscription.ready(deadline.signal)
        await subscription.changed(cursor, deadline.signal)
      }
    } finally {
      clearTimeout(timer)
      request.signal.removeEventListener('abort', stopWaiting)
      subscription?.close()
    }
  }

  async #backwards(request: HistoryRequest): Promise<HistoryPage> {
    const below = Math.min(request.cursor ?? Number.MAX_SAFE_INTEGER, request.lastSeq + 1)
    const above = Math.max(0, below - 1 - MAX_SCAN_EVENTS)
    const { frames, more } = await this.#read(request, above, below)
    const reached = more ? (frames.at(-1)?.seq ?? 1) : above + 1
    return { frames, nextCursor: reached > 1 ? reached : null, lastSeq: request.lastSeq }
  }

  /** `more`: a bound ended the page, not the range. */
  async #read(request: HistoryRequest, above: Seq, below: Seq): Promise<{ frames: Frame[]; more: boolean }> {
    const { sid, order, type, actor, limit } = request
    if (below - above <= 1) return { frames: [], more: false }
    // One more than asked for tells whether something ended the page; bytes may end it too, but never before the first.
    const bounds: PageBounds = { events: limit + 1, bytes: PAGE_BYTES }
    const found = await readHotHistory(this.#db, sid, { above, below, order, type, actor }, bounds)
    // At most 3 bytes per UTF-16 unit: a page that is taken for full without being so merely ends early.
    const mostBytes = found.reduce((sum, frame) => sum + 3 * frame.text.length, 0)
    return { frames: found.slice(0, limit), more: found.length > limit || mostBytes >= PAGE_BYTES }
  }

  async #lastSeq(sid: string): Promise<Seq> {
    return (await readHeads(this.#db, [sid])).get(sid) ?? 0
  }
}
