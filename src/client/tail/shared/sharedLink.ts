import { StarciteError } from '../../errors.ts'
import type { EventPage } from '../../http/answers.ts'
import { readEvent } from '../../rawJson.ts'
import type { AnyEvents, SessionEvent } from '../../types.ts'
import type { Cursor } from '../cursor.ts'
import type { End, Link } from '../link.ts'
import type { PageReader } from '../pageReader.ts'
import type { LiveListener, Subscription } from './liveFeed.ts'
import { charsOf } from './messages.ts'
import { later } from './timer.ts'

/** The characters of live events that wait for a reader at most. Above it they are dropped, and read from the server later. */
const MAX_WAITING_CHARS = 4_194_304
/** Timers hold no more than 31 bits of milliseconds. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

interface LiveEvents {
  readonly first: number
  readonly last: number
  readonly texts: readonly string[]
  readonly chars: number
}

/**
 * A tail over a shared connection, which pushes live events. Events before the connection's position, and events that were
 * dropped because the reader was slow, are read page by page, at the reader's pace and with the reader's own token. So a reader
 * that is slow or far behind does not delay the others.
 *
 *   behind (cursor < known, and the next event is not waiting) → reads a page
 *   live   (the next event is waiting)                         → hands it out
 *   up to date                                                 → waits, or has finished when it does not follow
 *
 * The first page is read before any event is yielded, so that the server has checked the reader's own token.
 */
export class SharedLink implements Link, LiveListener {
  readonly #pages: PageReader
  readonly #ends: boolean
  readonly #abort = new AbortController()
  /** A page that was read and not yielded yet. */
  #page: readonly SessionEvent[] | undefined
  /** The page after a seq, which is requested while the one before is read. */
  #ahead: { readonly seq: number; readonly page: Promise<EventPage<AnyEvents>> } | undefined
  /** Contiguous live events, up to MAX_WAITING_CHARS. */
  #live: LiveEvents[] = []
  #liveChars = 0
  #cursor: Cursor
  /** The highest seq that the session is known to have. */
  #known = 0
  #subscription: Subscription | undefined
  #end: End | undefined
  #wake = () => {}
  #stopTimer = () => {}
  #readAt = Date.now()

  private constructor(pages: PageReader, cursor: Cursor, ends: boolean) {
    this.#pages = pages
    this.#cursor = cursor
    this.#ends = ends
  }

  /** Opens the link. Without `live` it ends with the present last event. Rejects with StarciteError. */
  static async open(
    pages: PageReader,
    firstPage: Promise<EventPage<AnyEvents>>,
    live: ((end: Cursor, link: SharedLink) => Promise<Subscription>) | undefined,
    cursor: Cursor,
    signal: AbortSignal,
  ): Promise<SharedLink> {
    const link = new SharedLink(pages, cursor, live === undefined)
    const abort = () => link.close()
    signal.addEventListener('abort', abort, { once: true })
    try {
      const page = await firstPage
      link.#known = page.last_seq
      link.#take(page.events)
      if (live) await link.#subscribe(live(link.#endOf(page), link))
      return link
    } catch (error) {
      link.close()
      throw error
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  get heardAt(): number {
    return Math.max(this.#readAt, this.#subscription?.heardAt ?? 0)
  }

  /** The transport of the connection; undefined without one. */
  get transport(): 'websocket' | 'sse' | undefined {
    return this.#subscription?.transport
  }

  async next(): Promise<readonly SessionEvent[] | End> {
    for (;;) {
      const events = this.#takePage() ?? this.#takeLive()
      if (events !== undefined) return events
      if (this.#end !== undefined) return this.#end
      if (this.#cursor.seq < this.#known) await this.#readPage()
      else if (this.#ends) return { at: 'finished', isCertain: true }
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
    }
  }

  check(): void {
    this.#subscription?.check()
  }

  /** Ends the link after `ms`, so that its reader reconnects and the server checks its token again. */
  endIn(ms: number): void {
    this.#stopTimer()
    this.#stopTimer = later(Math.min(ms, LONGEST_TIMER_MS), () => this.onEnd({ at: 'interrupted' }))
  }

  close(): void {
    this.#stopTimer()
    this.#page = undefined
    this.#drop()
    this.#abort.abort()
    this.onEnd({ at: 'broken', reason: 'closed by the client' })
    this.#subscription?.leave()
  }

  onEvents(first: number, texts: readonly string[]): void {
    const last = first + texts.length - 1
    const chars = charsOf(texts)
    const waiting = this.#live.at(-1)
    this.onLastSeq(last)
    if (this.#end !== undefined || (waiting && last <= waiting.last)) return
    const isTooMuch = this.#liveChars + chars > MAX_WAITING_CHARS
    if (isTooMuch || (waiting && first > waiting.last + 1)) this.#drop()
    if (isTooMuch) return
    this.#live.push({ first, last, texts, chars })
    this.#liveChars += chars
  }

  onLastSeq(seq: number): void {
    this.#known = Math.max(this.#known, seq)
    this.#wake()
  }

  onEnd(end: End): void {
    this.#end ??= end
    this.#wake()
  }

  async #subscribe(subscribing: Promise<Subscription>): Promise<void> {
    const aborted = new Promise<never>((_, reject) => {
      const abort = () =>
        reject(new StarciteError('network_error', 'the tail was ended', { retryable: true }))
      this.#abort.signal.addEventListener('abort', abort, { once: true })
    })
    subscribing.then(
      (subscription) => {
        this.#subscription = subscription
        if (this.#abort.signal.aborted) subscription.leave()
      },
      () => {},
    )
    const { position } = await Promise.race([subscribing, aborted])
    this.onLastSeq(position)
  }

  #takePage(): readonly SessionEvent[] | undefined {
    const events = this.#page
    this.#page = undefined
    this.#cursor = cursorOf(events) ?? this.#cursor
    return events?.length ? events : undefined
  }

  #takeLive(): readonly SessionEvent[] | undefined {
    for (let [frame] = this.#live; frame && frame.first <= this.#cursor.seq + 1; [frame] = this.#live) {
      this.#live.shift()
      this.#liveChars -= frame.chars
      if (frame.last <= this.#cursor.seq) continue
      try {
        const events = frame.texts.map((text) => readEvent(text))
        this.#cursor = cursorOf(events) ?? this.#cursor
        return events
      } catch (error) {
        this.#drop()
        this.onEnd({ at: 'broken', reason: (error as Error).message })
      }
    }
    return undefined
  }

  async #readPage(): Promise<void> {
    try {
      const ahead = this.#ahead
      this.#ahead = undefined
      const isNext = ahead?.seq === this.#cursor.seq
      const { events } = await (isNext ? ahead.page : this.#pages.after(this.#cursor, this.#abort.signal))
      this.#readAt = Date.now()
      if (events.length > 0) this.#take(events)
      else this.onEnd({ at: 'broken', reason: `events after ${this.#cursor.seq} are missing` })
    } catch (error) {
      if (error instanceof StarciteError && !error.retryable) this.onEnd({ at: 'refused', error })
      else this.onEnd({ at: 'broken', reason: (error as Error).message })
    }
  }

  /** Yields a page. Events that were appended after a finite tail began are not part of it. */
  #take(events: readonly SessionEvent[]): void {
    this.#page = this.#ends ? events.filter(({ seq }) => seq <= this.#known) : events
    const last = cursorOf(events)
    if (last === undefined || last.seq >= this.#known) return
    const page = this.#pages.after(last, this.#abort.signal)
    page.catch(() => {}) // reported when it is awaited
    this.#ahead = { seq: last.seq, page }
  }

  /** The end of the session when the page was read. */
  #endOf({ events, last_seq }: EventPage<AnyEvents>): Cursor {
    const at = cursorOf(events) ?? this.#cursor
    return at.seq === last_seq ? at : { seq: last_seq, insertedAt: undefined }
  }

  #drop(): void {
    this.#live = []
    this.#liveChars = 0
  }
}

function cursorOf(events: readonly SessionEvent[] | undefined): Cursor | undefined {
  const last = events?.at(-1)
  return last && { seq: last.seq, insertedAt: last.inserted_at }
}
