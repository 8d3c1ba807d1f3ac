import type { IncomingMessage } from 'node:http'
import type { Middleware } from 'koa'
import koaEasyWs from 'koa-easy-ws'
import type { State } from '../context.ts'

/** A fragment takes some hundred bytes beside its payload, which no budget counts. The largest messages of clients have a few. */
const MAX_FRAGMENTS = 512

// A CommonJS module whose types say `default` where there is none at run time.
const easyWs = koaEasyWs as unknown as typeof koaEasyWs.default

/**
 * koa-easy-ws, which adds `ws` to the context of a handshake. Messages that are too large, or have too many frames, close their
 * socket. `ws` and not Koa writes the response to a handshake, so X-Request-Id is added here.
 */
export function upgrades(maxPayload: number): Middleware {
  const requestIds = new WeakMap<IncomingMessage, string>()
  const upgrade = easyWs('ws', {
    wsOptions: { maxPayload, maxFragments: MAX_FRAGMENTS, perMessageDeflate: false },
  })
  upgrade.server.on('headers', (headers: string[], req: IncomingMessage) => {
    headers.push(`X-Request-Id: ${requestIds.get(req)}`)
  })
  return (ctx, next) => {
    requestIds.set(ctx.req, (ctx.state as State).requestId)
    return upgrade(ctx, next)
  }
}
