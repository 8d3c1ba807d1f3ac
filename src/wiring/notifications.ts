import type { AppendRequest } from '../append/newEvent.ts'
import type { OutcomeRow } from '../append/queries.ts'
import type { Database } from '../db/database.ts'
import type { Idleness } from '../lib/idleness.ts'
import type { LifecycleFeed } from '../lifecycle/feed.ts'
import type { Sequencer } from '../lifecycle/sequencer.ts'
import type { Hub } from '../live/hub.ts'
import { Listener } from '../live/listener.ts'
import type { NotifyLag } from '../live/notifyLag.ts'
import type { Log } from '../ops/log.ts'
import type { Metrics } from '../ops/metrics.ts'
import { type RenderedEvent, renderEvent } from '../protocol/event.ts'
import type { ColdReader } from '../tiering/cold/coldReader.ts'
import type { TieringJob } from '../tiering/tieringJob.ts'

/** The components that receive NOTIFY hints. */
export interface NotificationTargets {
  readonly hub: Hub
  readonly lifecycle: LifecycleFeed
  readonly sequencer: Sequencer
  readonly cold: ColdReader
  readonly tiering: TieringJob
  readonly notifyLag: NotifyLag
}

/** Creates a listener that passes notifications to their targets, and has all of them check after each connect. */
export function openListener(
  database: Database,
  { hub, cold, tiering, lifecycle, sequencer, notifyLag }: NotificationTargets,
  metrics: Metrics,
  log: Log,
  idleness: Idleness,
): Listener {
  /** Has all targets check: notifications may have been missed. */
  const checkAll = () => {
    for (const target of [hub, lifecycle, sequencer, cold]) target.checkAll()
  }
  const listener = new Listener({
    get url() {
      return database.directUrl
    },
    log,
    notify: (channel, payload) => database.notify(channel, payload),
    idleness,
    onHead: (sid, lastSeq, epoch) => {
      notifyLag.notified(sid, lastSeq)
      hub.hint(sid, lastSeq, epoch)
      sequencer.moved(sid)
      if (epoch === undefined) return
      cold.forget(sid)
      tiering.wake() // SQL may have requested an erasure
    },
    onFeeds: (feeds) => lifecycle.grown(feeds),
    onConnected: () => {
      metrics.listenerUp(true)
      // A pooler may have connected the node to another server.
      hub.verifyAll()
      lifecycle.verifyAll()
      checkAll()
    },
    onDisconnected: () => metrics.listenerUp(idleness.isIdle), // an idle node needs no notifications
  })
  database.onPrimaryMoved(() => listener.renew())
  database.notifyQueue.onRoom(checkAll)
  return listener
}

/** Hands a node's own commits to its tails, which then need not read them from Postgres. */
export function publish(hub: Hub, request: AppendRequest, rows: readonly OutcomeRow[]): void {
  const last = rows.at(-1)
  if (last === undefined) return
  hub.appended(last.sid, last.lastSeq, () =>
    rows.flatMap((row, i): RenderedEvent[] => {
      const event = request.events[i]
      return event && row.outcome === 'appended'
        ? [renderEvent({ ...event, seq: row.seq, insertedAt: row.insertedAt })]
        : []
    }),
  )
}
