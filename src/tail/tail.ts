import { jittered, pause } from '../lib/backoff.ts'
import type { Hub } from '../live/hub.ts'
import type { Log } from '../ops/log.ts'
import type { Metrics } from '../ops/metrics.ts'
import type { Frame, Seq } from '../protocol/event.ts'
import { type EventLog, HoleError } from './log.ts'

/** Where a tail's events go. It only frames and sends; what and when is the tail's. */
export interface Sink {
  /** Hands the events to the transport, which buffers what the peer does not take at once. */
  send(frames: readonly Frame[]): void
  /** Resolves when the transport has room for another page, or the signal is aborted. */
  drained(signal: AbortSignal): Promise<void>
}

export interface TailOptions {
  readonly sid: string
  readonly cursor: Seq
  /** Undefined: for ever. Else the tail ends with this seq. */
  readonly until: Seq | undefined
  readonly sink: Sink
  readonly signal: AbortSignal
}

const RETRY_BASE_MS = 50
const RETRY_MAX_MS = 2000

/**
 * Delivers every event after a cursor, each once, in order, from whatever tier. Pull-based: read a page, send it, wait
 * until the transport has room, repeat; nothing there, wait for the hub. So replay and live are the same loop and
 * there is no hand-over to race.
 */
export class Tails {
  readonly #hub: Hub
  readonly #eventLog: EventLog
  readonly #log: Log
  readonly #metrics: Metrics

  constructor(hub: Hub, eventLog: EventLog, log: Log, metrics: Metrics) {
    this.#hub = hub
    this.#eventLog = eventLog
    this.#log = log
    this.#metrics = metrics
  }

  /** Resolves when `until` was delivered or the signal aborted; rejects on a fault, with nothing skipped. */
  async run({ sid, cursor: start, until, sink, signal }: TailOptions): Promise<void> {
    const subscription = this.#hub.register(sid) // before the first read, so that nothing falls in between
    const reader = this.#eventLog.reader(subscription)
    const read = (cursor: Seq) => this.#read(() => reader.after(cursor), signal)
    try {
      await subscription.ready(signal)
      let cursor = start
      let ahead: Promise<readonly Frame[]> | undefined
      while (!signal.aborted && (until === undefined || cursor < until)) {
        const page = upTo(await (ahead ?? read(cursor)), until)
        ahead = undefined
        const last = page.at(-1)
        if (last === undefined) {
          if (signal.aborted) return
          await subscription.changed(cursor, signal)
          continue
        }
        const isLive = subscription.after(last.seq, 1)?.length === 0
        cursor = last.seq
        if (!isLive && cursor !== until) {
          // Catching up: the next page is read while this one goes out.
          ahead = read(cursor)
          ahead.catch(() => {}) // reported when it is awaited, if it ever is
        }
        sink.send(page)
        if (isLive) this.#metrics.tailLag((Date.now() - committedAt(last)) / 1000)
        await sink.drained(signal)
      }
    } catch (error) {
      this.#metrics.tailFault()
      throw error
    } finally {
      subscription.close()
    }
  }

  /** A database or an object store that is away makes a tail wait, not fail. */
  async #read(read: () => Promise<readonly Frame[]>, signal: AbortSignal): Promise<readonly Frame[]> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await read()
      } catch (error) {
        if (signal.aborted) return []
        if (error instanceof HoleError) throw error
        this.#log.warn({ err: error, attempt }, 'a tail could not read on')
        await pause(jittered(attempt, RETRY_BASE_MS, RETRY_MAX_MS), signal)
      }
    }
  }
}

function upTo(page: readonly Frame[], until: Seq | undefined): readonly Frame[] {
  if (until === undefined || (page.at(-1)?.seq ?? 0) <= until) return page
  return page.filter((frame) => frame.seq <= until)
}

/** Milliseconds since the epoch. `inserted_at` is the last member of every frame. */
function committedAt(frame: Frame): number {
  return Date.parse(frame.text.slice(-29, -2))
}
