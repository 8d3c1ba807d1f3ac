import { networkError, StarciteError } from '../../errors.ts'
import type { Cursor } from '../cursor.ts'
import type { End } from '../link.ts'
import { type Channel, onPage, type TabApis } from './browser.ts'
import type { Hub } from './hub.ts'
import type { LiveFeed, LiveListener, Subscription } from './liveFeed.ts'
import { charsOf, type OfLeader, type OfTab, type ToLeader, type ToTab } from './messages.ts'
import { ServedTab } from './servedTab.ts'
import { later } from './timer.ts'

/** How often a follower asks for a sign of life of the tab that leads; what does not answer by the next is replaced. */
const PING_MS = 4000
/** A tab that has nothing to follow leaves the others after so long. */
const IDLE_MS = 5000
/** Characters that are taken before the tab that leads is told. */
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
 * This tab among the tabs of its origin that have the same server and the same rights. The one that holds the Web Lock
 * of their name leads: it has the connection, and passes on what the others follow. The others queue for the lock, so
 * that one of them leads as soon as the leader is gone, whatever ended it.
 *
 *   queueing → leading      the lock is granted: it says so, and the others come back to it with their cursors
 *   leading  → queueing     another tab took the lock away, because this one did not answer (it hung, or was frozen)
 *   either   → left         the page is put away, or there was nothing to follow for a while
 *
 * Messages between tabs may be lost with the tab that sends or receives them; followers find out and read what they
 * missed (SharedLink), so nothing here is sent twice.
 */
export class TabGroup implements LiveFeed {
  readonly #name: string
  readonly #id: string
  readonly #apis: TabApis
  readonly #openHub: (onIdle: () => void) => Hub
  readonly #onLeft: () => void
  /** From every tab to the one that leads, and from that one to all. */
  readonly #all: Channel
  readonly #own: Channel
  readonly #remotes = new Map<number, Remote>()
  readonly #served = new Map<string, ServedTab>()
  readonly #left = new AbortController()
  readonly #stopHearing: () => void
  /** Those that led before: one that hung may still speak as if it did. */
  readonly #former = new Set<string>()
  #hasEntered = false
  #queued = new AbortController()
  #hub: Hub | undefined
  #leading = new AbortController()
  #leader: string | undefined
  #leaderHeardAt = 0
  #hasAnswered = true
  #isPinging = false
  #stopPing = () => {}
  #stopIdle = () => {}
  #lastN = 0
  #leads = 0
  #taken = 0

  /** `onLeft`: this one is used up; who comes later makes another. */
  constructor(name: string, apis: TabApis, openHub: (onIdle: () => void) => Hub, onLeft: () => void) {
    this.#name = name
    this.#id = Math.random().toString(36).slice(2)
    this.#apis = apis
    this.#openHub = openHub
    this.#onLeft = onLeft
    this.#all = apis.openChannel(name)
    this.#own = apis.openChannel(this.#channelOf(this.#id))
    this.#all.onmessage = ({ data }) => this.#onShared(data as OfTab | OfLeader)
    this.#own.onmessage = ({ data }) => this.#onOwn(data as OfLeader)
    this.#stopHearing = onPage(['pagehide', 'freeze'], () => this.leave())
    void this.#enter()
  }

  async subscribe(sessionId: string, cursor: Cursor, listener: LiveListener): Promise<Subscription> {
    this.#stopIdle()
    if (this.#left.signal.aborted) throw gone()
    if (this.#hub) return this.#hub.subscribe(sessionId, cursor, listener)
    this.#lastN += 1
    const n = this.#lastN
    return new Promise((resolve, reject) => {
      const remote = { n, sessionId, cursor, listener, settle: { resolve, reject }, isJoined: false }
      this.#remotes.set(n, remote)
      if (this.#leader !== undefined) this.#ask(remote)
      this.#ping()
    })
  }

  /** Ends all subscriptions, and lets another tab lead. */
  leave(): void {
    if (this.#left.signal.aborted) return
    this.#left.abort()
    this.#queued.abort()
    this.#stopHearing()
    this.#stopPing()
    this.#stopIdle()
    this.#stopLeading({ at: 'broken', reason: 'the page was put away' })
    for (const { listener, settle } of this.#remotes.values()) {
      settle.reject(gone())
      listener.onEnd({ at: 'broken', reason: 'the page was put away' })
    }
    this.#remotes.clear()
    this.#all.close()
    this.#own.close()
    this.#onLeft()
  }

  /** The lock that says that this tab is there is held before anybody hears of it. */
  async #enter(): Promise<void> {
    await new Promise<void>((resolve) => {
      const held = () => {
        resolve()
        return this.#untilLeft()
      }
      this.#apis.locks.request(this.#channelOf(this.#id), {}, held).catch(() => this.leave())
    })
    this.#hasEntered = true
    this.#queue({ signal: this.#queued.signal })
    this.#ping()
  }

  #queue(how: { readonly steal?: boolean; readonly signal?: AbortSignal }): void {
    if (this.#left.signal.aborted) return
    this.#apis.locks.request(this.#name, how, () => this.#lead()).catch(() => this.#onTaken(how.signal))
  }

  /** Holds the lock until the promise is settled. */
  #lead(): Promise<void> | undefined {
    if (this.#left.signal.aborted) return undefined
    this.#stopPing()
    this.#isPinging = false
    this.#leading = new AbortController()
    this.#hub = this.#openHub(() => this.#leaveWhenIdle())
    this.#leads += 1
    this.#leader = `${this.#id} ${this.#leads}`
    this.#all.postMessage({ at: 'leads', leader: this.#leader, heardAt: 0 } satisfies OfLeader)
    this.#followAnew()
    this.#leaveWhenIdle()
    const { signal } = this.#leading
    return new Promise((resolve) => onAbort(signal, resolve))
  }

  /** The lock was taken away, or a request for it was called off. */
  #onTaken(signal: AbortSignal | undefined): void {
    if (signal?.aborted || this.#left.signal.aborted) return
    if (this.#leader !== undefined) this.#former.add(this.#leader)
    this.#leader = undefined
    this.#stopLeading({ at: 'interrupted' })
    this.#queued = new AbortController()
    this.#queue({ signal: this.#queued.signal })
    this.#ping()
  }

  #stopLeading(end: End): void {
    for (const tab of this.#served.values()) tab.close()
    this.#served.clear()
    const hub = this.#hub
    this.#hub = undefined
    hub?.close(end)
    this.#leading.abort()
  }

  /** There is another leader, perhaps this tab. Who had joined comes back with its cursor; others are asked for again. */
  #followAnew(): void {
    for (const remote of [...this.#remotes.values()]) {
      if (remote.isJoined) {
        this.#remotes.delete(remote.n)
        remote.listener.onEnd({ at: 'interrupted' })
      } else if (this.#hub) {
        const { n, sessionId, cursor, listener, settle } = remote
        this.#remotes.delete(n)
        this.#hub.subscribe(sessionId, cursor, listener).then(settle.resolve, settle.reject)
      } else this.#ask(remote)
    }
  }

  #ask({ n, sessionId, cursor }: Remote): void {
    this.#post({ at: 'subscribe', n, sessionId, cursor })
  }

  #post(message: ToLeader): void {
    if (!this.#left.signal.aborted) this.#all.postMessage({ from: this.#id, ...message } satisfies OfTab)
  }

  #onShared(message: OfTab | OfLeader): void {
    if (message.at === 'leads') this.#onLeader(message)
    else if (this.#hub && 'from' in message)
      this.#servedOf(message.from, this.#hub).receive(message, this.#hub.heardAt)
  }

  #onOwn(message: OfLeader): void {
    if (message.at === 'leads') this.#onLeader(message)
    else if (message.leader === this.#leader) this.#onTold(message)
  }

  #onTold(message: Exclude<ToTab, { at: 'leads' }>): void {
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

  #onLeader({ leader, heardAt }: OfLeader & { at: 'leads' }): void {
    if (this.#hub || !this.#hasEntered || this.#former.has(leader)) return
    this.#hasAnswered = true
    this.#leaderHeardAt = Math.max(this.#leaderHeardAt, heardAt)
    if (leader === this.#leader) return
    if (this.#leader !== undefined) this.#former.add(this.#leader)
    this.#leader = leader
    this.#followAnew()
  }

  #subscriptionOf(remote: Remote, { position, transport }: ToTab & { at: 'joined' }): Subscription {
    const tabs = this
    return {
      position,
      transport,
      get heardAt() {
        return tabs.#leaderHeardAt
      },
      check: () => this.#post({ at: 'check' }),
      leave: () => {
        if (this.#remotes.delete(remote.n)) this.#post({ at: 'leave', n: remote.n })
        this.#leaveWhenIdle()
      },
    }
  }

  /** The tab that leads sends only so much that was not taken. */
  #took(texts: readonly string[]): void {
    this.#leaderHeardAt = Date.now()
    this.#taken += charsOf(texts)
    if (this.#taken < TOOK_CHARS) return
    this.#post({ at: 'took', chars: this.#taken })
    this.#taken = 0
  }

  #servedOf(tab: string, hub: Hub): ServedTab {
    const known = this.#served.get(tab)
    if (known) return known
    const served = new ServedTab(this.#leader ?? '', hub, this.#apis.openChannel(this.#channelOf(tab)))
    this.#served.set(tab, served)
    // Granted when the tab is gone, however that came about.
    this.#apis.locks
      .request(this.#channelOf(tab), { signal: this.#leading.signal }, () => {
        if (this.#served.get(tab) === served) this.#served.delete(tab)
        served.close()
        this.#leaveWhenIdle()
        return undefined
      })
      .catch(() => {})
    return served
  }

  /** Asks the leader for a sign of life, again and again, as long as this tab depends on it. */
  #ping(): void {
    if (this.#hub || !this.#hasEntered || this.#left.signal.aborted || this.#isPinging) return
    this.#isPinging = true
    this.#hasAnswered = false
    const at = Date.now()
    this.#post({ at: 'ping' })
    this.#stopPing = later(PING_MS, () => {
      this.#isPinging = false
      if (this.#remotes.size === 0) return
      // A tab that was itself stopped meanwhile has not heard the answer yet.
      const wasStopped = Date.now() - at > 2 * PING_MS
      if (this.#hasAnswered || wasStopped) this.#ping()
      else {
        this.#queued.abort()
        this.#queue({ steal: true })
      }
    })
  }

  #leaveWhenIdle(): void {
    this.#stopIdle()
    this.#stopIdle = later(IDLE_MS, () => {
      if (this.#remotes.size === 0 && this.#served.size === 0 && this.#hub?.isIdle !== false) this.leave()
    })
  }

  #untilLeft(): Promise<void> {
    return new Promise((resolve) => onAbort(this.#left.signal, resolve))
  }

  #channelOf(tab: string): string {
    return `${this.#name} ${tab}`
  }
}

const gone = () => networkError('the page was put away', 'the tail was not begun')

function onAbort(signal: AbortSignal, act: () => void): void {
  if (signal.aborted) act()
  signal.addEventListener('abort', act, { once: true })
}
