import type { IncomingMessage } from 'node:http'
import type { Middleware } from 'koa'
import koaEasyWs from 'koa-easy-ws'
import type { State } from '../context.ts'

/** Each costs some hundred bytes beside what is in it, which no budget sees. Clients have a few in their largest message. */
const MAX_FRAGMENTS = 512

// A CommonJS module whose types say `default` where there is none at run time.
const easyWs = koaEasyWs as unknown as typeof koaEasyWs.default

/**
 * koa-easy-ws, which gives the context of a handshake its way into a WebSocket. A message over the bound, or of too many
 * frames, closes its socket. `ws` writes the answer to a handshake, not Koa, so the request's id is added here.
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
