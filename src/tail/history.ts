import type { Db } from '../db/pool.ts'
import { scanMembers } from '../lib/jsonMembers.ts'
import { LinkedAbort } from '../lib/linkedAbort.ts'
import type { Hub } from '../live/hub.ts'
import { type PageBounds, readHeads, type SeenLog } from '../live/queries.ts'
import { AppError } from '../protocol/errors.ts'
import type { RenderedEvent, Seq } from '../protocol/event.ts'
import type { ColdTier } from './coldTier.ts'
import { readHotHistory } from './hotQueries.ts'
import type { MissingEvents } from './missingEvents.ts'
import { countHot, findFirstMissing } from './queries.ts'
import { endError } from './tail.ts'

export interface HistoryRequest {
  readonly sid: string
  readonly lastSeq: Seq
  /** The log as the caller has read it: a request that waits reads nothing of another log. */
  readonly seen?: SeenLog
  /** Exclusive. Undefined with `desc` means from the end. */
  readonly cursor: Seq | undefined
  readonly limit: number
  readonly order: 'asc' | 'desc'
  readonly type: string | null
  readonly actor: string | null
  /** The longest wait for a first event when there is none past the cursor. */
  readonly waitMs: number
  /** Ends the waiting early. */
  readonly signal: AbortSignal
  /** Called with the size of the page so far, in characters. Throws when the memory for answers is full. */
  readonly hold?: (characters: number) => void
}

export interface HistoryPage {
  readonly events: readonly RenderedEvent[]
  /** The cursor of the next page, past all events scanned, matching or not. Null when `desc` has reached the start. */
  readonly nextCursor: Seq | null
  readonly lastSeq: Seq
}

/** A page scans at most this many events, matching or not, and then returns how far it came. */
const MAX_SCAN_EVENTS = 20_000
/** A search ends once it has read this many characters. That bounds cold reads; in Postgres a filter reads columns only. */
const MAX_SCAN_CHARACTERS = 32 * 1024 * 1024
/** A page ends once its events have this many characters. */
const MAX_PAGE_CHARACTERS = 8 * 1024 * 1024

/**
 * The result of scanning a range of the log: the matching events, the last seq scanned, with no gap before it, and the
 * number of characters read.
 */
interface Found {
  readonly events: readonly RenderedEvent[]
  readonly reached: Seq
  readonly characters: number
}

/** The first missing event of a range. */
interface Gap {
  readonly missing: Seq
}

/** Pages of history, in either direction, from all tiers. */
export class History {
  readonly #db: Db
  readonly #cold: ColdTier
  readonly #hub: Hub
  readonly #missing: MissingEvents

  constructor(db: Db, cold: ColdTier, hub: Hub, missing: MissingEvents) {
    this.#db = db
    this.#cold = cold
    this.#hub = hub
    this.#missing = missing
  }

  page(request: HistoryRequest): Promise<HistoryPage> {
    return request.order === 'desc' ? this.#backwards(request) : this.#forwards(request)
  }

  async #forwards(request: HistoryRequest): Promise<HistoryPage> {
    const subscription = request.waitMs > 0 ? this.#hub.register(request.sid, request.seen) : undefined
    // Without a wait, only the caller ends a request early.
    const deadline = new LinkedAbort(
      [request.signal],
      request.waitMs > 0 ? { ms: request.waitMs } : undefined,
    )
    try {
      let cursor = request.cursor ?? 0
      for (let lastSeq = request.lastSeq; ; lastSeq = await this.#lastSeq(request.sid)) {
        if (cursor < lastSeq) {
          const until = Math.min(cursor + MAX_SCAN_EVENTS, lastSeq)
          const { events, reached } = await this.#scan(request, cursor + 1, until, deadline.signal)
          cursor = reached
          // A request that waits has the same bound of events: its client continues from the cursor of the page.
          if (events.length > 0 || cursor < lastSeq) return { events, nextCursor: cursor, lastSeq }
        }
        if (subscription === undefined || deadline.signal.aborted)
          return { events: [], nextCursor: cursor, lastSeq }
        await subscription.ready(deadline.signal)
        await subscription.changed(cursor, deadline.signal)
        if (subscription.endReason === 'history_changed') throw endError(subscription.endReason)
      }
    } finally {
      deadline.release()
      subscription?.close()
    }
  }

  async #backwards(request: HistoryRequest): Promise<HistoryPage> {
    const { cursor, lastSeq } = request
    const newest = Math.min((cursor ?? Number.MAX_SAFE_INTEGER) - 1, lastSeq)
    if (newest < 1) return { events: [], nextCursor: null, lastSeq }
    const { events, reached } = await this.#scan(
      request,
      Math.max(1, newest - MAX_SCAN_EVENTS + 1),
      newest,
      request.signal,
    )
    return { events, nextCursor: reached > 1 ? reached : null, lastSeq }
  }

  /**
   * Scans first..last in the request's order, tier by tier, until the range or a bound of the page ends. The signal ends a
   * search early.
   */
  async #scan(request: HistoryRequest, first: Seq, last: Seq, signal: AbortSignal): Promise<Found> {
    const isAsc = request.order === 'asc'
    const isSearch = request.type !== null || request.actor !== null
    const events: RenderedEvent[] = []
    let [characters, looked] = [0, 0]
    let [from, to] = [first, last]
    while (from <= to && events.length < request.limit && characters < MAX_PAGE_CHARACTERS) {
      if (isSearch && looked > 0 && (looked >= MAX_SCAN_CHARACTERS || signal.aborted)) break
      const found = await this.#read(request, from, to, request.limit - events.length)
      for (const event of found.events) {
        events.push(event)
        characters += event.text.length
      }
      if (characters > 0) request.hold?.(characters)
      looked += found.characters
      if (isAsc) from = found.reached + 1
      else to = found.reached - 1
    }
    return { events, reached: isAsc ? from - 1 : to + 1, characters }
  }

  /** Reads one step of a scan, in one tier. It advances by at least one event, and skips none. */
  async #read(request: HistoryRequest, from: Seq, to: Seq, limit: number): Promise<Found> {
    const isAsc = request.order === 'asc'
    for (let isSecondLook = false; ; ) {
      const coldUntil = await this.#cold.coldUntil(request.sid)
      const isCold = (isAsc ? from : to) <= coldUntil
      const found = isCold
        ? await this.#readCold(request, from, to, limit)
        : await this.#readHot(request, isAsc ? from : Math.max(from, coldUntil + 1), to, limit)
      if (!('missing' in found)) return found
      // Events that were moved meanwhile are missing from the result: read again.
      if ((await this.#cold.coldUntil(request.sid)) !== coldUntil) continue
      if (isSecondLook) return this.#missing.report(request.sid, found.missing)
      await this.#missing.expect(request.sid, found.missing)
      isSecondLook = true
    }
  }

  async #readHot(request: HistoryRequest, from: Seq, to: Seq, limit: number): Promise<Found | Gap> {
    const { sid, order, type, actor } = request
    // One event more than the limit shows whether the page is full. Bytes may end the read too, but never before its first event.
    const bounds: PageBounds = { events: limit + 1, bytes: MAX_PAGE_CHARACTERS }
    const query = { above: from - 1, below: to + 1, order, type, actor }
    const found = await readHotHistory(this.#db, sid, query, bounds)
    // At most 3 bytes per UTF-16 unit. A page that is wrongly taken for full only ends early.
    const mostBytes = found.reduce((sum, event) => sum + 3 * event.text.length, 0)
    const events = found.slice(0, limit)
    const isFiltered = type !== null || actor !== null
    const isFull = isFiltered ? found.length > limit : events.length === limit
    const isCut = isFull || mostBytes >= MAX_PAGE_CHARACTERS
    const end = order === 'asc' ? to : from
    const reached = isCut ? (events.at(-1)?.seq ?? end) : end
    const [first, last] = order === 'asc' ? [from, reached] : [reached, to]
    const there = isFiltered
      ? await countHot(this.#db, sid, first, last)
      : inPlace(events, first, last, order)
    if (there === last - first + 1) return { events, reached, characters: mostBytes }
    return { missing: await findFirstMissing(this.#db, sid, first, last, order) }
  }

  async #readCold(request: HistoryRequest, from: Seq, to: Seq, limit: number): Promise<Found | Gap> {
    const isAsc = request.order === 'asc'
    const start = isAsc ? from : to
    const slice = await this.#cold.sliceAt(request.sid, start)
    if (slice === undefined) return { missing: start }
    const wanted = slice.filter(({ seq }) => seq >= from && seq <= to)
    if (!isAsc) wanted.reverse()
    const events: RenderedEvent[] = []
    let characters = 0
    for (const event of wanted) {
      characters += event.text.length
      if (!matches(event, request)) continue
      events.push(event)
      if (events.length === limit) return { events, reached: event.seq, characters }
    }
    return { events, reached: wanted.at(-1)?.seq ?? start, characters }
  }

  async #lastSeq(sid: string): Promise<Seq> {
    const head = (await readHeads(this.#db, [sid])).get(sid)
    if (head?.erased) throw new AppError('session_erased', 'the session was erased')
    return head?.lastSeq ?? 0
  }
}

const FILTERED = ['type', 'actor']

function matches({ text }: RenderedEvent, { type, actor }: HistoryRequest): boolean {
  if (type === null && actor === null) return true
  const members = scanMembers(text, FILTERED)
  const is = (name: string, wanted: string | null) => {
    const span = members?.get(name)
    return wanted === null || (span !== undefined && JSON.parse(text.slice(span.start, span.end)) === wanted)
  }
  return is('type', type) && is('actor', actor)
}

/** The number of events in their expected position, up to the first that is not. */
function inPlace(events: readonly RenderedEvent[], first: Seq, last: Seq, order: 'asc' | 'desc'): number {
  const astray = events.findIndex(({ seq }, i) => seq !== (order === 'asc' ? first + i : last - i))
  return astray === -1 ? events.length : astray
}
