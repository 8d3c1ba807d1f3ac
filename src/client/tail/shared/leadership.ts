import type { End } from '../link.ts'
import type { TabApis } from './browser.ts'
import type { Hub } from './hub.ts'
import type { OfTab } from './messages.ts'
import { ServedTab } from './servedTab.ts'

/** The state of the leading tab of a group: the connection, and the tabs that it serves from it. */
export class Leadership {
  /** The name of this tab's time as leader. */
  readonly leader: string
  readonly hub: Hub
  /** Resolves when the tab stops leading. */
  readonly ended: Promise<void>
  readonly #apis: TabApis
  readonly #channelOf: (tab: string) => string
  readonly #onTabGone: () => void
  readonly #tabs = new Map<string, ServedTab>()
  readonly #abort = new AbortController()

  constructor(
    leader: string,
    hub: Hub,
    apis: TabApis,
    channelOf: (tab: string) => string,
    onTabGone: () => void,
  ) {
    this.leader = leader
    this.hub = hub
    this.#apis = apis
    this.#channelOf = channelOf
    this.#onTabGone = onTabGone
    this.ended = new Promise((resolve) =>
      this.#abort.signal.addEventListener('abort', () => resolve(), { once: true }),
    )
  }

  /** Whether no tab is served, and no session is followed over the connection. */
  get isIdle(): boolean {
    return this.#tabs.size === 0 && this.hub.isIdle
  }

  receive(message: OfTab): void {
    this.#servedTab(message.from).receive(message, this.hub.heardAt)
  }

  /** Ends all subscriptions, and gives up the lead. */
  close(end: End): void {
    for (const tab of this.#tabs.values()) tab.close()
    this.#tabs.clear()
    this.hub.close(end)
    this.#abort.abort()
  }

  #servedTab(id: string): ServedTab {
    const known = this.#tabs.get(id)
    if (known) return known
    const tab = new ServedTab(this.leader, this.hub, this.#apis.openChannel(this.#channelOf(id)))
    this.#tabs.set(id, tab)
    // Every tab holds a lock of its own: the browser grants it to this tab once the other one is gone.
    this.#apis.locks
      .request(this.#channelOf(id), { signal: this.#abort.signal }, () => {
        if (this.#tabs.get(id) === tab) this.#tabs.delete(id)
        tab.close()
        this.#onTabGone()
        return undefined
      })
      .catch(() => {})
    return tab
  }
}
