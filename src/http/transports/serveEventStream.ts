import { onTokenEnd } from '../../auth/tokenEnd.ts'
import { stallPolicyOf } from '../context.ts'
import type { Call } from '../operation.ts'
import { beginEventStream, EventStream } from './eventStream.ts'
import { knownEnd } from './tailEnd.ts'

type StreamCall = Pick<Call, 'ctx' | 'principal' | 'services'>

export interface ServedStream {
  /** The stream counts as one of the tails of its principal; false: what runs on it counts its own. */
  readonly isOneTail: boolean
  /** How many pages of events wait in memory for the reader at a time. */
  readonly pages?: 1 | 2
  /** Whether its end says that the reader has everything: `follow=false`. */
  readonly isFinite?: boolean
  /** Sends events until there is no more to send, or the signal of the stream is aborted. */
  run(stream: EventStream): Promise<void>
  /** `run` was rejected by what its reader is not told. */
  onFault(error: unknown): void
}

/**
 * Answers with an event stream. Owns what a stream holds from its beginning to its end: its place in the principal's quota,
 * its registration with the node, which drains it, and the watch over its token. Throws draining, too_many_sockets,
 * too_many_tails. Returns once the stream has begun.
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
  // Not awaited: the request is answered.
  void served
    .run(stream)
    .catch((error) => {
      const known = knownEnd(error)
      if (known === undefined) served.onFault(error)
      // The reader of an erased session comes back, and is answered 410.
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
