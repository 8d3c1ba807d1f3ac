import { onTokenEnd } from '../../auth/tokenEnd.ts'
import { stallPolicyOf } from '../context.ts'
import type { Call } from '../operation.ts'
import { beginEventStream, EventStream } from './eventStream.ts'
import { knownEnd } from './tailEnd.ts'

type StreamCall = Pick<Call, 'ctx' | 'principal' | 'services'>

export interface ServedStream {
  /** Whether the stream counts as one tail of its principal; false when `run` counts tails of its own. */
  readonly isOneTail: boolean
  /** The most pages of events that wait in memory for the reader. */
  readonly pages?: 1 | 2
  /** Whether its end says that the reader has everything: `follow=false`. */
  readonly isFinite?: boolean
  /** Sends events until the last one, or until the signal of the stream is aborted. */
  run(stream: EventStream): Promise<void>
  /** Called when `run` is rejected with an unexpected error. */
  onFault(error: unknown): void
}

/**
 * Responds with an event stream. Owns what a stream holds until its end: its place in the principal's quota of tails, its
 * registration with the node, which drains it, and the watch over its token. Throws draining, too_many_sockets,
 * too_many_tails. Returns when the stream has begun.
 */
export function serveEventStream({ ctx, principal, services }: StreamCall, served: ServedStream): void {
  const { config, sockets, tailQuota } = services
  sockets.assertNotFull()
  const release = served.isOneTail ? tailQuota.take(principal) : () => {}
  beginEventStream(ctx)
  if (ctx.method === 'HEAD') {
    release()
    return
  }
  const stream = new EventStream(ctx, {
    keepAliveMs: config.tail.sseKeepAliveMs,
    stallPolicy: { ...stallPolicyOf(services, ctx), pages: served.pages ?? 1 },
    drainSpreadMs: config.drainSpreadMs,
    isFinite: served.isFinite ?? false,
  })
  const remove = sockets.add(stream, ctx.req.socket)
  const unwatch = onTokenEnd(principal, () => stream.end())
  // Not awaited: the response has begun.
  void served
    .run(stream)
    .catch((error) => {
      const known = knownEnd(error)
      if (known === undefined) served.onFault(error)
      // The reader of an erased session reconnects, and receives a 410.
      if (known?.code === 'session_erased') stream.end()
      else stream.fail(known)
    })
    .finally(() => {
      stream.end()
      unwatch()
      remove()
      release()
    })
}
