import { Db } from '../../src/db/pool.ts'
import type { Cursor } from '../../src/lifecycle/cursor.ts'
import { LifecycleFeed } from '../../src/lifecycle/feed.ts'
import { Sequencer } from '../../src/lifecycle/sequencer.ts'
import { Listener } from '../../src/live/listener.ts'
import { createLog } from '../../src/ops/log.ts'
import { Metrics } from '../../src/ops/metrics.ts'
import { Sessions } from '../../src/sessions/sessions.ts'
import { until } from './until.ts'

/** The parts of a node that have to do with changes of sessions, for any tenant, put together as a node does. */
export async function startLifecycleNode(
  database: { url: string },
  { listenUrl = database.url, pollIntervalMs = 1000 } = {},
) {
  const log = createLog('silent')
  const db = new Db({
    url: database.url,
    size: 4,
    applicationName: 'lifecycle node',
    timeoutMs: 5000,
    preparedStatements: true,
    log,
  })
  const feed = new LifecycleFeed({ db, pollIntervalMs, log, metrics: new Metrics() })
  const sequencer = new Sequencer({
    db,
    pollIntervalMs,
    isListening: () => listener.downForMs === 0,
    onFeedsGrown: (feeds) => feed.grown(feeds),
    log,
  })
  const listener: Listener = new Listener({
    url: listenUrl,
    log,
    notify: (channel, payload) => db.query({ text: 'select pg_notify($1, $2)' }, [channel, payload]),
    onHead: (sid) => sequencer.moved(sid),
    onFeeds: (feeds) => feed.grown(feeds),
    onConnected: () => {
      feed.checkAll()
      sequencer.checkAll()
    },
    onDisconnected: () => {},
  })
  listener.start()
  feed.start()
  sequencer.start()
  if (listenUrl === database.url) await until('it listens', () => listener.downForMs === 0)
  return {
    feed,
    sessions: new Sessions(db, 1024 * 1024, () => sequencer.changed()),
    stop: async () => {
      await listener.stop()
      await sequencer.stop()
      await feed.stop()
      await db.stop()
    },
  }
}

export type LifecycleNode = Awaited<ReturnType<typeof startLifecycleNode>>

export interface Seen {
  readonly kind: string
  readonly session_id: string
  readonly tenant_id: string
  readonly last_seq?: number
}

/** A reader that keeps its cursor, and may be cut off and go on elsewhere. */
export class FeedReader {
  readonly seen: Seen[] = []
  readonly cursors: Cursor[] = []
  readonly #tenantId: string
  #following: Promise<void> = Promise.resolve()
  #cut = new AbortController()
  #cursor: Cursor

  constructor(tenantId: string, cursor: Cursor = { place: 0, number: 0 }) {
    this.#tenantId = tenantId
    this.#cursor = cursor
  }

  /** Follows the feed of a node until it is cut, or has been sent `most` events more. */
  follow({ feed }: LifecycleNode, most = Number.POSITIVE_INFINITY): Promise<void> {
    const cut = new AbortController()
    this.#cut = cut
    let left = most
    this.#following = feed.follow({
      tenantId: this.#tenantId,
      cursor: this.#cursor,
      signal: cut.signal,
      sink: {
        room: async () => {},
        send: (events) => {
          for (const event of events.slice(0, left)) {
            this.seen.push(JSON.parse(event.text).event)
            this.cursors.push(event.cursor)
            this.#cursor = event.cursor
          }
          left -= events.length
          if (left <= 0) cut.abort()
        },
      },
    })
    return this.#following
  }

  async cut(): Promise<void> {
    this.#cut.abort()
    await this.#following
  }

  /** In one line each. */
  get lines(): string[] {
    return this.seen.map(({ kind, session_id, last_seq }) =>
      [kind.replace('session.', ''), session_id, last_seq].filter((part) => part !== undefined).join(' '),
    )
  }
}
