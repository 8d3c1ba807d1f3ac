import { StarciteError } from '../../errors.ts'
import type { Cursor } from '../cursor.ts'
import type { End } from '../link.ts'
import type { Channel } from './browser.ts'
import type { LiveFeed, Subscription } from './liveFeed.ts'
import { charsOf, type OfLeader, type ToLeader, type ToTab } from './messages.ts'

/** The most unacknowledged characters of a tab. Above it the tab only receives the seq of new events, and reads them. */
const MAX_UNTAKEN_CHARS = 1_048_576

/** One follower tab in the leading tab: its subscriptions, and the characters that it has not acknowledged. */
export class ServedTab {
  readonly #leader: string
  readonly #live: LiveFeed
  readonly #channel: Channel
  readonly #subscriptions = new Map<number, Subscription | undefined>()
  /** The last seq of each subscription that was not sent all of its events. */
  readonly #missed = new Map<number, number>()
  #untaken = 0

  constructor(leader: string, live: LiveFeed, channel: Channel) {
    this.#leader = leader
    this.#live = live
    this.#channel = channel
  }

  receive(message: ToLeader, heardAt: number): void {
    switch (message.at) {
      case 'ping':
        this.#post({ at: 'leads', heardAt })
        return
      case 'subscribe':
        void this.#subscribe(message.n, message.sessionId, message.cursor)
        return
      case 'leave':
        this.#subscriptions.get(message.n)?.leave()
        this.#forget(message.n)
        return
      case 'check':
        for (const subscription of this.#subscriptions.values())
          if (subscription) return void subscription.check()
        return
      case 'took':
        this.#untaken -= message.chars
        if (this.#untaken > MAX_UNTAKEN_CHARS / 2) return
        for (const [n, seq] of this.#missed) this.#post({ at: 'known', n, seq })
        this.#missed.clear()
        return
      default:
        message satisfies never
    }
  }

  /** Releases the tab, when it is gone or another one leads. */
  close(): void {
    for (const subscription of this.#subscriptions.values()) subscription?.leave()
    this.#subscriptions.clear()
    this.#channel.close()
  }

  async #subscribe(n: number, sessionId: string, cursor: Cursor): Promise<void> {
    this.#subscriptions.set(n, undefined)
    try {
      const subscription = await this.#live.subscribe(sessionId, cursor, {
        onEvents: (first, texts) => this.#onEvents(n, first, texts),
        onLastSeq: (seq) => this.#post({ at: 'known', n, seq }),
        onEnd: (end) => this.#onEnd(n, end),
      })
      if (!this.#subscriptions.has(n)) return subscription.leave()
      this.#subscriptions.set(n, subscription)
      this.#post({ at: 'joined', n, position: subscription.position, transport: subscription.transport })
    } catch (error) {
      const code = error instanceof StarciteError ? error.code : 'network_error'
      if (this.#forget(n)) this.#post({ at: 'refused', n, code, message: (error as Error).message })
    }
  }

  #onEvents(n: number, first: number, texts: readonly string[]): void {
    if (!this.#subscriptions.has(n)) return
    if (this.#untaken >= MAX_UNTAKEN_CHARS) this.#missed.set(n, first + texts.length - 1)
    else {
      this.#untaken += charsOf(texts)
      this.#post({ at: 'events', n, first, texts })
    }
  }

  #onEnd(n: number, end: End): void {
    if (this.#forget(n)) this.#post({ at: 'ended', n, end: cloneable(end) })
  }

  #forget(n: number): boolean {
    this.#missed.delete(n)
    return this.#subscriptions.delete(n)
  }

  #post(message: ToTab): void {
    this.#channel.postMessage({ leader: this.#leader, ...message } satisfies OfLeader)
  }
}

/** An end that can be cloned into a message. The tab gets errors from the server itself, when it reconnects. */
const cloneable = (end: End): End =>
  end.at === 'refused' ? { at: 'broken', reason: end.error.message } : end
