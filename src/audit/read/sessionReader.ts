import { readAhead } from '../../lib/readAhead.ts'
import { openSlices } from './coldSlices.ts'
import { hotEvents } from './hotEvents.ts'
import { Peekable } from './peekable.ts'
import { type IndexedSlice, nextTenant, type Order, readSessions, readSlices } from './queries.ts'
import type { Scope, SessionHead } from './scope.ts'
import { type ReaderOptions, SessionLog } from './sessionLog.ts'

const SESSIONS_PER_PAGE = 1000
/** Sessions are read in groups of about this many events, which bounds the slices that are known at a time. */
const EVENTS_PER_GROUP = 500_000
const SLICES_PER_READ = 2000

/** The point after which reading continues. */
export interface After {
  readonly tenant: string
  /** The session after which to continue, as an id or a sid, by the order; undefined: from the tenant's first. */
  readonly key: string | undefined
}

/**
 * Reads whole logs, session by session, from objects and from Postgres, many of them ahead. When a segment moves or
 * an object is replaced meanwhile, its events are looked up again; an event that is in neither tier then is a fault.
 */
export class SessionReader {
  readonly #options: ReaderOptions

  constructor(options: ReaderOptions) {
    this.#options = options
  }

  /** The sessions of the scope, by tenant and in this order, in groups that are read together. */
  async *groups(scope: Scope, order: Order, after?: After): AsyncGenerator<SessionHead[], void> {
    for await (const { tenant, key } of this.#tenants(scope, after))
      for (let behind = key; ; ) {
        const page = await readSessions(this.#options.db, tenant, scope, order, behind, SESSIONS_PER_PAGE)
        yield* grouped(page)
        const last = page.at(-1)
        if (last === undefined || page.length < SESSIONS_PER_PAGE) break
        behind = order === 'id' ? last.session : last.sid
      }
  }

  /** The logs of a group, one after the other. Read or leave each before requesting the next. */
  async *read(group: readonly SessionHead[]): AsyncGenerator<SessionLog, void> {
    const { db, store, signal } = this.#options
    const cold = new Peekable(openSlices(store, this.#slices(group), signal))
    const hot = new Peekable(readAhead(hotEvents(db, group)))
    try {
      for (const [index, head] of group.entries()) yield new SessionLog(this.#options, index, head, cold, hot)
    } finally {
      await cold.stop()
      await hot.stop()
    }
  }

  async *#tenants({ tenant }: Scope, after: After | undefined): AsyncGenerator<After, void> {
    if (after !== undefined) yield after
    if (tenant !== undefined) {
      if (after === undefined) yield { tenant, key: undefined }
      return
    }
    for (let last = after?.tenant ?? ''; ; ) {
      const next = await nextTenant(this.#options.db, last)
      if (next === undefined) return
      yield { tenant: next, key: undefined }
      last = next
    }
  }

  async *#slices(group: readonly SessionHead[]): AsyncGenerator<IndexedSlice, void> {
    if (group.every((it) => it.coldUntil < it.fromSeq)) return
    for (let last: IndexedSlice | undefined; ; ) {
      const some = await readSlices(this.#options.db, group, last, SLICES_PER_READ)
      yield* some
      last = some.at(-1)
      if (some.length < SLICES_PER_READ) return
    }
  }
}

function* grouped(sessions: readonly SessionHead[]): Generator<SessionHead[]> {
  let group: SessionHead[] = []
  let events = 0
  for (const head of sessions) {
    const wanted = Math.max(0, head.toSeq - head.fromSeq + 1)
    if (group.length > 0 && events + wanted > EVENTS_PER_GROUP) {
      yield group
      group = []
      events = 0
    }
    group.push(head)
    events += wanted
  }
  if (group.length > 0) yield group
}
