import { networkError } from '../../errors.ts'
import type { Cursor } from '../cursor.ts'
import type { End } from '../link.ts'
import { type Channel, onPage, type TabApis } from './browser.ts'
import type { Hub } from './hub.ts'
import { LeaderSubscriptions } from './leaderSubscriptions.ts'
import { Leadership } from './leadership.ts'
import type { LiveFeed, LiveListener, Subscription } from './liveFeed.ts'
import type { OfLeader, OfTab, ToLeader } from './messages.ts'
import { later } from './timer.ts'

/** How often a follower pings the leading tab. A leader that does not answer before the next ping is replaced. */
const PING_MS = 4000
/** A tab that has had nothing to follow for this long leaves the group. */
const IDLE_MS = 5000
const LEFT = { at: 'broken', reason: 'the page was closed or frozen' } as const

/**
 * This tab in the group of tabs of its origin that have the same server and the same rights. The tab that holds the Web
 * Lock with the group's name leads: it has the connection, and passes on what the other tabs follow. The other tabs queue
 * for the lock, so that one of them leads as soon as the leader is gone.
 *
 *   queueing → leading      the lock is granted: the tab announces itself, and the others come back with their cursors
 *   leading  → queueing     another tab stole the lock, because this one did not answer (it hung, or was frozen)
 *   either   → left         the page is closed or frozen, or the tab had nothing to follow for a while
 *
 * Messages between tabs may be lost with the tab that sends or receives them. Followers notice, and read what they
 * missed (SharedLink), so no message is sent twice.
 */
export class TabGroup implements LiveFeed {
  readonly #name: string
  readonly #id: string
  readonly #apis: TabApis
  readonly #openHub: (onIdle: () => void) => Hub
  readonly #onLeft: () => void
  /** The channel from every tab to the leading one, and from that one to all. */
  readonly #all: Channel
  readonly #own: Channel
  readonly #subscriptions: LeaderSubscriptions
  readonly #left = new AbortController()
  readonly #stopPageEvents: () => void
  /** Earlier leaders: one that hung may still send messages as the leader. */
  readonly #former = new Set<string>()
  #hasEntered = false
  #queued = new AbortController()
  /** Set while this tab leads. */
  #leadership: Leadership | undefined
  #leader: string | undefined
  #hasAnswered = true
  #isPinging = false
  #stopPing = () => {}
  #stopIdle = () => {}
  #timesLed = 0

  /** `onLeft` is called when the tab has left the group. Then this object accepts no more subscriptions. */
  constructor(name: string, apis: TabApis, openHub: (onIdle: () => void) => Hub, onLeft: () => void) {
    this.#name = name
    this.#id = Math.random().toString(36).slice(2)
    this.#apis = apis
    this.#openHub = openHub
    this.#onLeft = onLeft
    this.#subscriptions = new LeaderSubscriptions(
      (message) => this.#post(message),
      () => this.#leaveWhenIdle(),
    )
    this.#all = apis.openChannel(name)
    this.#own = apis.openChannel(this.#channelOf(this.#id))
    this.#all.onmessage = ({ data }) => this.#onShared(data as OfTab | OfLeader)
    this.#own.onmessage = ({ data }) => this.#onOwn(data as OfLeader)
    this.#stopPageEvents = onPage(['pagehide', 'freeze'], () => this.leave())
    void this.#enter()
  }

  async subscribe(sessionId: string, cursor: Cursor, listener: LiveListener): Promise<Subscription> {
    this.#stopIdle()
    if (this.#hasLeft) throw leftError()
    if (this.#leadership) return this.#leadership.hub.subscribe(sessionId, cursor, listener)
    const joined = this.#subscriptions.add(sessionId, cursor, listener, this.#leader !== undefined)
    this.#ping()
    return joined
  }

  /** Ends all subscriptions, and lets another tab lead. */
  leave(): void {
    if (this.#hasLeft) return
    this.#left.abort()
    this.#queued.abort()
    this.#stopPageEvents()
    this.#stopPing()
    this.#stopIdle()
    this.#stopLeading(LEFT)
    this.#subscriptions.end(LEFT, leftError())
    this.#all.close()
    this.#own.close()
    this.#onLeft()
  }

  get #hasLeft(): boolean {
    return this.#left.signal.aborted
  }

  /** Takes the lock that shows that this tab exists, before it sends a message to any other tab. */
  async #enter(): Promise<void> {
    const untilLeft = new Promise<void>((resolve) =>
      this.#left.signal.addEventListener('abort', () => resolve(), { once: true }),
    )
    await new Promise<void>((resolve) => {
      const held = () => {
        resolve()
        return untilLeft
      }
      this.#apis.locks.request(this.#channelOf(this.#id), {}, held).catch(() => this.leave())
    })
    this.#hasEntered = true
    this.#queue({ signal: this.#queued.signal })
    this.#ping()
  }

  #queue(how: { readonly steal?: boolean; readonly signal?: AbortSignal }): void {
    if (this.#hasLeft) return
    this.#apis.locks.request(this.#name, how, () => this.#lead()).catch(() => this.#onLockLost(how.signal))
  }

  /** Leads, and holds the lock, until the promise settles. */
  #lead(): Promise<void> | undefined {
    if (this.#hasLeft) return undefined
    this.#stopPing()
    this.#isPinging = false
    this.#timesLed += 1
    this.#leader = `${this.#id} ${this.#timesLed}`
    this.#leadership = new Leadership(
      this.#leader,
      this.#openHub(() => this.#leaveWhenIdle()),
      this.#apis,
      (tab) => this.#channelOf(tab),
      () => this.#leaveWhenIdle(),
    )
    this.#all.postMessage({ at: 'leads', leader: this.#leader, heardAt: 0 } satisfies OfLeader)
    this.#subscriptions.changeLeader(this.#leadership.hub)
    this.#leaveWhenIdle()
    return this.#leadership.ended
  }

  /** Another tab stole the lock, or this tab withdrew its request. */
  #onLockLost(signal: AbortSignal | undefined): void {
    if (signal?.aborted || this.#hasLeft) return
    if (this.#leader !== undefined) this.#former.add(this.#leader)
    this.#leader = undefined
    this.#stopLeading({ at: 'interrupted' })
    this.#queued = new AbortController()
    this.#queue({ signal: this.#queued.signal })
    this.#ping()
  }

  #stopLeading(end: End): void {
    const leadership = this.#leadership
    this.#leadership = undefined
    leadership?.close(end)
  }

  #post(message: ToLeader): void {
    if (!this.#hasLeft) this.#all.postMessage({ from: this.#id, ...message } satisfies OfTab)
  }

  #onShared(message: OfTab | OfLeader): void {
    if (message.at === 'leads') this.#onLeader(message)
    else if ('from' in message) this.#leadership?.receive(message)
  }

  #onOwn(message: OfLeader): void {
    if (message.at === 'leads') this.#onLeader(message)
    else if (message.leader === this.#leader) this.#subscriptions.receive(message)
  }

  #onLeader({ leader, heardAt }: OfLeader & { at: 'leads' }): void {
    if (this.#leadership || !this.#hasEntered || this.#former.has(leader)) return
    this.#hasAnswered = true
    this.#subscriptions.noteHeardAt(heardAt)
    if (leader === this.#leader) return
    if (this.#leader !== undefined) this.#former.add(this.#leader)
    this.#leader = leader
    this.#subscriptions.changeLeader(undefined)
  }

  /** Pings the leading tab for as long as this tab depends on it, and takes the lock from one that does not answer. */
  #ping(): void {
    if (this.#leadership || !this.#hasEntered || this.#hasLeft || this.#isPinging) return
    this.#isPinging = true
    this.#hasAnswered = false
    const at = Date.now()
    this.#post({ at: 'ping' })
    this.#stopPing = later(PING_MS, () => {
      this.#isPinging = false
      if (this.#subscriptions.isEmpty) return
      // If this tab was itself stopped meanwhile, it has not received the answer yet.
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
      if (this.#subscriptions.isEmpty && this.#leadership?.isIdle !== false) this.leave()
    })
  }

  #channelOf(tab: string): string {
    return `${this.#name} ${tab}`
  }
}

const leftError = () => networkError(LEFT.reason, 'the tail was not started')
