import { StarciteError } from '../../errors.ts'
import type { Cursor } from '../cursor.ts'
import type { End } from '../link.ts'
import type { LiveFeed, LiveListener, Subscription } from './liveFeed.ts'
import { charsOf, type ToLeader, type ToTab } from './messages.ts'

/** After this many characters the tab acknowledges events to the leading tab. */
const TOOK_CHARS = 65_536

interface Remote {
  readonly n: number
  readonly sessionId: string
  readonly cursor: Cursor
  readonly listener: LiveListener
  readonly settle: { resolve(subscription: Subscription): void; reject(error: unknown): void }
  isJoined: boolean
}

/**
 * The subscriptions of a tab over the connection of the leading tab. Each has a number, by which the messages of both tabs
 * name it.
 */
export class LeaderSubscriptions {
  readonly #post: (message: ToLeader) => void
  readonly #onLeave: () => void
  readonly #remotes = new Map<number, Remote>()
  #heardAt = 0
  #lastN = 0
  #takenChars = 0

  constructor(post: (message: ToLeader) => void, onLeave: () => void) {
    this.#post = post
    this.#onLeave = onLeave
  }

  get isEmpty(): boolean {
    return this.#remotes.size === 0
  }

  /** Subscribes to a session. Resolves once a leading tab has joined it. With `hasLeader` it asks the leader at once. */
  add(sessionId: string, cursor: Cursor, listener: LiveListener, hasLeader: boolean): Promise<Subscription> {
    this.#lastN += 1
    const n = this.#lastN
    return new Promise((resolve, reject) => {
      const remote = { n, sessionId, cursor, listener, settle: { resolve, reject }, isJoined: false }
      this.#remotes.set(n, remote)
      if (hasLeader) this.#ask(remote)
    })
  }

  /** Records when data last arrived on the leading tab's connection. */
  noteHeardAt(heardAt: number): void {
    this.#heardAt = Math.max(this.#heardAt, heardAt)
  }

  receive(message: Exclude<ToTab, { at: 'leads' }>): void {
    if (message.at === 'events') this.#took(message.texts)
    const remote = this.#remotes.get(message.n)
    if (remote === undefined) return
    const { listener, settle } = remote
    switch (message.at) {
      case 'joined':
        remote.isJoined = true
        settle.resolve(this.#subscriptionOf(remote, message))
        return
      case 'events':
        listener.onEvents(message.first, message.texts)
        return
      case 'known':
        listener.onLastSeq(message.seq)
        return
      case 'ended':
        this.#remotes.delete(remote.n)
        listener.onEnd(message.end)
        return
      case 'refused':
        this.#remotes.delete(remote.n)
        settle.reject(new StarciteError(message.code, message.message, { retryable: true }))
        return
      default:
        message satisfies never
    }
  }

  /**
   * Handles a new leading tab, or this one, with its `own` connection. Subscriptions that had joined end, and reconnect with
   * their cursors; the others are requested again.
   */
  changeLeader(own: LiveFeed | undefined): void {
    for (const remote of [...this.#remotes.values()]) {
      if (remote.isJoined) {
        this.#remotes.delete(remote.n)
        remote.listener.onEnd({ at: 'interrupted' })
      } else if (own) {
        const { n, sessionId, cursor, listener, settle } = remote
        this.#remotes.delete(n)
        own.subscribe(sessionId, cursor, listener).then(settle.resolve, settle.reject)
      } else this.#ask(remote)
    }
  }

  /** Ends every subscription; those that have not joined are rejected with the error. */
  end(end: End, error: StarciteError): void {
    for (const { listener, settle } of this.#remotes.values()) {
      settle.reject(error)
      listener.onEnd(end)
    }
    this.#remotes.clear()
  }

  #ask({ n, sessionId, cursor }: Remote): void {
    this.#post({ at: 'subscribe', n, sessionId, cursor })
  }

  #subscriptionOf(remote: Remote, { position, transport }: ToTab & { at: 'joined' }): Subscription {
    const heardAt = () => this.#heardAt
    return {
      position,
      transport,
      get heardAt() {
        return heardAt()
      },
      check: () => this.#post({ at: 'check' }),
      leave: () => {
        if (this.#remotes.delete(remote.n)) this.#post({ at: 'leave', n: remote.n })
        this.#onLeave()
      },
    }
  }

  /** Acknowledges events: the leading tab bounds what was sent and not acknowledged. */
  #took(texts: readonly string[]): void {
    this.#heardAt = Date.now()
    this.#takenChars += charsOf(texts)
    if (this.#takenChars < TOOK_CHARS) return
    this.#post({ at: 'took', chars: this.#takenChars })
    this.#takenChars = 0
  }
}
