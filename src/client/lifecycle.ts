import { Backoff } from './backoff.ts'
import { networkError, StarciteError } from './errors.ts'
import type { Http } from './http/http.ts'
import { PageWakeups } from './pageWakeups.ts'
import { EventStreamLink } from './tail/eventStreamLink.ts'
import type { End } from './tail/link.ts'
import type { LifecycleEvent } from './types.ts'

export interface LifecycleOptions {
  /** The cursor of the last event seen. Without it the feed starts now. */
  readonly cursor?: string
  /** The `cursorAt` of the same event. With it the server checks that its feed still has the event there. */
  readonly cursorAt?: string
  /** Ends the feed without an error. */
  readonly signal?: AbortSignal
  /** Called when the feed is connected, and when it waits before it reconnects. */
  readonly onConnection?: (state: LifecycleState) => void
}

export type LifecycleState =
  | { readonly at: 'open'; readonly cursor: string | undefined }
  | {
      readonly at: 'waiting'
      readonly cursor: string | undefined
      readonly error: StarciteError
      readonly ms: number
    }

export interface LifecycleItem {
  readonly event: LifecycleEvent
  /** Resume with it to miss no event. */
  readonly cursor: string
  /** Keep it with the cursor. Undefined from servers that do not send it. */
  readonly cursorAt?: string | undefined
}

const BACKOFF_BASE_MS = 250
const BACKOFF_MAX_MS = 15_000
/** The server sends a comment every 15 s. After three missed ones the connection counts as broken. */
const SILENCE_MS = 45_000
const ENDED: End = { at: 'broken', reason: 'the stream ended' }

/** The lifecycle events of the tenant's sessions, in order. Reconnects with its cursor. */
export async function* lifecycle(
  http: Http,
  options: LifecycleOptions,
): AsyncGenerator<LifecycleItem, void, undefined> {
  const wakeups = new PageWakeups(options.signal ?? new AbortController().signal)
  const backoff = new Backoff(BACKOFF_BASE_MS, BACKOFF_MAX_MS)
  let { cursor, cursorAt } = options
  try {
    while (!wakeups.signal.aborted) {
      let trouble = networkError('the stream ended', 'the lifecycle feed was interrupted')
      let link: EventStreamLink | undefined
      try {
        const call = { path: '/v1/lifecycle', query: { cursor, cursor_at: cursorAt } }
        link = await EventStreamLink.open(http, call, { signal: wakeups.signal, whenDone: ENDED })
        if (link !== undefined) options.onConnection?.({ at: 'open', cursor })
        for (let data = await next(link, wakeups); data !== undefined; data = await next(link, wakeups)) {
          const item = readItem(data, link?.id ?? '')
          cursor = item.cursor
          cursorAt = item.cursorAt
          backoff.reset()
          yield item
        }
        // A feed that was interrupted before its first event resumes where the server said that it started.
        cursor ??= link?.lastId || undefined
      } catch (error) {
        if (wakeups.signal.aborted) return
        if (!(error instanceof StarciteError) || !error.retryable) throw error
        trouble = error
      } finally {
        link?.close()
      }
      if (wakeups.signal.aborted) return
      const ms = backoff.next(trouble.retryAfterMs)
      options.onConnection?.({ at: 'waiting', cursor, error: trouble, ms })
      await wakeups.wait(ms)
    }
  } finally {
    wakeups.stop()
  }
}

/** The next message; undefined when the connection has ended, or was silent for too long. */
async function next(link: EventStreamLink | undefined, wakeups: PageWakeups): Promise<string | undefined> {
  if (link === undefined) return undefined
  const coming = link.next()
  for (;;) {
    const wait = wakeups.start(link.heardAt + SILENCE_MS - Date.now())
    const first = await Promise.race([coming, wait.over])
    wait.cancel()
    if (typeof first === 'string') return first
    if (typeof first === 'object' && first.at === 'refused') throw first.error
    if (typeof first !== 'boolean' || wakeups.signal.aborted) return undefined
    if (first || Date.now() - link.heardAt >= SILENCE_MS) return undefined
  }
}

/** The feed's `data` is `{"event", "cursor"}`, or the event, with the cursor as the `id` of the stream. */
function readItem(data: string, id: string): LifecycleItem {
  try {
    const value = JSON.parse(data) as {
      event?: LifecycleEvent
      cursor?: string
      cursor_at?: string
      kind?: string
    }
    const event = value.kind === undefined ? value.event : (value as unknown as LifecycleEvent)
    const cursor = value.cursor ?? id
    const names = [event?.kind, event?.session_id, event?.tenant_id, cursor]
    if (event !== undefined && names.every((it) => typeof it === 'string'))
      return { event, cursor, cursorAt: value.cursor_at }
  } catch {
    // reported below
  }
  const message = 'the lifecycle feed sent a message that is not a lifecycle event'
  throw new StarciteError('invalid_answer', message, { retryable: true })
}
