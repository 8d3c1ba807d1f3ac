import { ArchivedLine, LineError } from '../../archive/archivedLine.ts'
import { redactLine } from '../../archive/line.ts'
import type { Db } from '../../db/pool.ts'
import type { ObjectStore } from '../../objects/objectStore.ts'
import { hotEvents } from './hotEvents.ts'
import { sliceAt } from './queries.ts'
import type { Scope, SessionHead } from './scope.ts'
import type { LineRange } from './sessionLog.ts'
import { type After, SessionReader } from './sessionReader.ts'

const LINE_FEED = 0x0a

/** The filter for events. */
export interface Selection extends Scope {
  /** Empty: events of every type, or actor. */
  readonly types: ReadonlySet<string>
  readonly actors: ReadonlySet<string>
}

/** The last event that need not be read again. */
export interface Cursor {
  readonly tenant: string
  readonly session: string
  readonly seq: number
}

/** A selected event. The reader reuses `line` for the next one. */
export interface Selected {
  readonly head: SessionHead
  readonly line: ArchivedLine
  /** The offset of the line feed of `line`. */
  readonly end: number
  readonly tier: 'hot' | 'cold'
}

export interface SelectionOptions {
  readonly db: Db
  readonly store: ObjectStore
  readonly signal: AbortSignal
  readonly selection: Selection
  readonly after?: Cursor | undefined
  /** 'cold': only the events that are in objects when a session's turn comes. */
  readonly tier?: 'cold'
  readonly onEvent: (event: Selected) => void
  /**
   * Called after each run of events; reading continues when it resolves. `read` also counts events that are not
   * selected.
   */
  readonly onRun: (read: { events: number; bytes: number }) => Promise<void>
}

/** A session cannot be read completely. `starcite audit verify` reports more. */
export class UnreadableError extends Error {
  override readonly name = 'UnreadableError'
}

/**
 * Reads the selected events, ordered by tenant, session (bytewise) and seq, each once, in either tier and while
 * segments move. Each session is read up to the head that it had when its turn came. Content whose erasure was
 * requested is not shown, also before the erasure is done. Rejects with an UnreadableError at an event that cannot be
 * read.
 */
export async function readSelected(options: SelectionOptions): Promise<void> {
  const { selection, after } = options
  const reader = new SessionReader(options)
  const pass = new Pass(options)
  if (after) {
    const scope = { ...selection, tenant: after.tenant, session: after.session }
    for await (const group of reader.groups(scope, 'id'))
      await pass.read(
        reader,
        group.map((head) => ({ ...head, fromSeq: Math.max(head.fromSeq, after.seq + 1) })),
      )
    if (selection.session !== undefined) return
  }
  const behind: After | undefined = after && { tenant: after.tenant, key: after.session }
  for await (const group of reader.groups(selection, 'id', behind)) await pass.read(reader, group)
}

class Pass {
  readonly #options: SelectionOptions
  readonly #line = new ArchivedLine()

  constructor(options: SelectionOptions) {
    this.#options = options
  }

  async read(reader: SessionReader, group: readonly SessionHead[]): Promise<void> {
    const { signal, onRun, tier } = this.#options
    const wanted = group.map((it) =>
      tier === 'cold' ? { ...it, toSeq: Math.min(it.toSeq, it.coldUntil) } : it,
    )
    if (tier === 'cold') await this.#assertNoGapAfterCold(group)
    for (const head of wanted)
      if (head.headHash === null) throw unreadable(head, 1, 'the session has no head')
    for await (const log of reader.read(wanted.filter((it) => it.fromSeq <= it.toSeq))) {
      signal.throwIfAborted()
      const { head } = log
      let next = head.fromSeq
      for await (const piece of log.pieces()) {
        if (piece.is === 'fault') throw unreadable(head, piece.problem.seq, piece.problem.detail)
        this.#readRange(head, piece, next)
        await onRun({ events: piece.lastSeq + 1 - next, bytes: piece.text.length })
        next = piece.lastSeq + 1
        signal.throwIfAborted()
      }
    }
  }

  /** Throws when an event after the cold part is in neither tier, because the export would silently omit it. */
  async #assertNoGapAfterCold(group: readonly SessionHead[]): Promise<void> {
    const { db } = this.#options
    const seams = group
      .filter((it) => it.coldUntil < it.lastSeq)
      .map((it) => ({ ...it, fromSeq: it.coldUntil + 1, toSeq: it.coldUntil + 1 }))
    const found = new Set<number>()
    for await (const { index } of hotEvents(db, seams)) found.add(index)
    for (const [index, head] of seams.entries()) {
      if (found.has(index) || (await sliceAt(db, head.sid, head.fromSeq)) !== undefined) continue // or it has moved meanwhile
      throw unreadable(head, head.fromSeq, 'it is neither in Postgres nor in an object of the manifest')
    }
  }

  #readRange(head: SessionHead, { text, slice, lastSeq }: LineRange, firstSeq: number): void {
    const line = this.#line
    let next = firstSeq
    for (let start = 0; start < text.length; ) {
      const end = text.indexOf(LINE_FEED, start)
      try {
        line.read(text, start, end)
        if (line.seq === next && line.seq <= head.toSeq) this.#select(head, line, end, slice)
      } catch (error) {
        throw error instanceof LineError ? unreadable(head, next, error.message) : error
      }
      start = end + 1
      if (line.seq > next) throw unreadable(head, next, `${line.seq} comes after ${next - 1}`)
      // Lines before the first requested seq are skipped.
      if (line.seq === next) next += 1
    }
    if (next <= lastSeq) throw unreadable(head, next, 'the object ends before it')
  }

  #select(head: SessionHead, line: ArchivedLine, end: number, slice: LineRange['slice']): void {
    if (!this.#isSelected(line)) return
    const tier = slice === undefined ? 'hot' : 'cold'
    if (isHidden(head, slice, line)) this.#options.onEvent(redacted(head, line, end, tier))
    else this.#options.onEvent({ head, line, end, tier })
  }

  #isSelected(line: ArchivedLine): boolean {
    const { from, to, types, actors } = this.#options.selection
    if (from !== undefined || to !== undefined) {
      const at = line.raw(line.insertedAt)
      if ((from !== undefined && at < from) || (to !== undefined && at >= to)) return false
    }
    return (
      (types.size === 0 || types.has(line.text(line.type) as string)) &&
      (actors.size === 0 || actors.has(line.text(line.actor) as string))
    )
  }
}

export const unreadable = ({ tenant, session }: SessionHead, seq: number, detail: string) =>
  new UnreadableError(
    `event ${seq} of session ${session} of tenant ${tenant} cannot be read: ${detail}; \`starcite audit verify\` says more`,
  )

function isHidden(
  { erasedHash }: SessionHead,
  slice: LineRange['slice'],
  { seq, isRedacted }: ArchivedLine,
): boolean {
  if (isRedacted) return false
  return erasedHash !== null || (slice?.hidden.some(([first, last]) => seq >= first && seq <= last) ?? false)
}

function redacted(
  head: SessionHead,
  { bytes, start, seq }: ArchivedLine,
  end: number,
  tier: Selected['tier'],
): Selected {
  const text = Buffer.from(`${redactLine(bytes.toString('utf8', start, end), seq)}\n`)
  const line = new ArchivedLine()
  line.read(text, 0, text.length - 1)
  return { head, line, end: text.length - 1, tier }
}
