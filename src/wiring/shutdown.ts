import type { Config } from '../config.ts'
import type { HttpServer } from '../http/server.ts'
import type { Sockets } from '../http/transports/sockets.ts'
import { pause } from '../lib/backoff.ts'
import { LinkedAbort } from '../lib/linkedAbort.ts'
import type { Health } from '../ops/health.ts'

/** Resolves with the work, or rejects as soon as the signal is aborted. The work then ends on its own. */
export async function unlessAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const starting = new LinkedAbort([signal])
  const stopped = starting.rejection().catch((cause: unknown) => {
    throw new Error('the node was stopped before it was ready', { cause })
  })
  await Promise.race([work, stopped]).finally(() => starting.release())
}

/**
 * Drains a node. Health checks fail, so the load balancer stops sending requests. After the delay the node accepts no new
 * connections, answers the requests under way and closes sockets. Resolves when that is done, or the grace time is over.
 */
export async function drain(
  config: Config,
  health: Health,
  http: HttpServer,
  sockets: Sockets,
): Promise<void> {
  health.draining()
  await pause(config.drainDelayMs)
  const grace = new LinkedAbort([], { ms: config.shutdownGraceMs })
  await Promise.race([Promise.all([http.drain(), sockets.drain()]), grace.rejection().catch(() => {})])
  grace.release()
}
