import { Backoff } from './backoff.ts'
import { networkError, StarciteError } from './errors.ts'
import type { Http } from './http/http.ts'
import { PageWakeups } from './pageWakeups.ts'
import { EventStreamLink } from './tail/eventStreamLink.ts'
import type { End } from './tail/link.ts'
import type { LifecycleEvent } from './types.ts'

export interface LifecycleOptions {
  /** Of the last one seen; without it, what happens from now on. */
  readonly cursor?: string
  /** That came with it: the server checks that its feed still has the event there. */
  readonly cursorAt?: string
  /** Ends the feed, quietly. */
  readonly signal?: AbortSignal
  /** Told whenever the feed is connected, and whenever it waits to come back. */
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
  /** Come back with it, and nothing is missed. */
  readonly cursor: string
  /** To be kept with it; undefined from servers that do not say it. */
  readonly cursorAt?: string | undefined
}

const BACKOFF_BASE_MS = 250
const BACKOFF_MAX_MS = 15_000
/** The server comments every 15 s; three missed, and the stream is taken for dead. */
const SILENCE_MS = 45_000
const ENDED: End = { at: 'broken', reason: 'the stream ended' }

/** What happens to the sessions of the tenant, in order, over any number of connections. */
export async function* lifecycle(
  http: Http,
  options: LifecycleOptions,
): AsyncGenerator<LifecycleItem, void, undefined> {
  const wakeups = new PageWakeups(options.signal ?? new AbortController().signal)
  const backoff = new Backoff(BACKOFF_BASE_MS, BACKOFF_MAX_MS)
  let { cursor, cursorAt } = options
  try {
    while (!wakeups.signal.aborted) {
      let trouble = networkError('the stream ended', 'the lifecycle feed was cut')
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
        // Who was cut off before the first event goes on from where the feed said that it began.
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

/** Undefined when the connection has ended, or is taken for dead. */
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
    // told below
  }
  const message = 'the lifecycle feed sent what is no event of it'
  throw new StarciteError('invalid_answer', message, { retryable: true })
}
