import type { Context } from 'koa'
import type { AppendRequest, AppendResult } from '../append/newEvent.ts'
import type { Authenticator } from '../auth/authenticator.ts'
import { nameOfPrincipal, type Principal } from '../auth/principal.ts'
import type { Config } from '../config.ts'
import type { FairTurns } from '../lib/fairTurns.ts'
import type { Idleness } from '../lib/idleness.ts'
import type { Account, MemoryBudget } from '../lib/memoryBudget.ts'
import type { UnreadBudget } from '../lib/unreadBudget.ts'
import type { LifecycleFeed } from '../lifecycle/feed.ts'
import type { Log } from '../ops/log.ts'
import type { Metrics } from '../ops/metrics.ts'
import type { Erasures } from '../sessions/erasure/erasures.ts'
import type { Caller } from '../sessions/queries.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { Cursors } from '../tail/cursors.ts'
import type { History } from '../tail/history.ts'
import type { TailQuota } from '../tail/quota.ts'
import type { Tails } from '../tail/tail.ts'
import { readBody } from './body.ts'
import type { RequestQuota } from './requestQuota.ts'
import type { ArrivingOptions } from './transports/arriving.ts'
import type { Sockets, StallPolicy } from './transports/sockets.ts'

/** The parts of a node that the handlers of operations call. */
export interface Services {
  readonly config: Config
  readonly log: Log
  readonly metrics: Metrics
  readonly authenticator: Authenticator
  readonly sessions: Sessions
  readonly erasures: Erasures
  readonly idleness: Idleness
  readonly appends: { append(request: AppendRequest): Promise<AppendResult> }
  readonly tails: Tails
  readonly history: History
  readonly cursors: Cursors
  readonly lifecycle: LifecycleFeed
  readonly sockets: Sockets
  /** Memory for request bodies and WebSocket messages that are still arriving. */
  readonly arriving: MemoryBudget
  /** Memory for responses that wait to be written. */
  readonly answers: MemoryBudget
  /** Memory for events that tails have written and their readers have not read. */
  readonly unread: UnreadBudget
  readonly tailQuota: TailQuota
  /** Turns to look up the session of a joining tail: a bounded number at a time, fair among principals. */
  readonly joins: FairTurns
  /** Undefined: requests are not limited. */
  readonly requestQuota: RequestQuota | undefined
}

/** The values that middleware puts in `ctx.state`. */
export interface State {
  requestId: string
  /** The template of the path of the operation, such as `/v1/sessions/:id`; absent when there is none. */
  route?: string
  principal: Principal
  /** Memory that is reserved for the response. */
  responseMemory?: Account
  /** The client disconnected before the response. */
  clientGone?: true
}

/** The key under which a client's memory is accounted: its principal, or without authentication its address. */
export const holderOf = (ctx: Context): string | undefined => {
  const { principal } = ctx.state as Partial<State>
  return (principal && nameOfPrincipal(principal)) ?? ctx.req.socket.remoteAddress
}

export const stallPolicyOf = ({ config, unread }: Services, ctx: Context): StallPolicy => ({
  stallMs: config.tail.stallMs,
  unread,
  holder: holderOf(ctx),
})

export const arrivingOf = ({ arriving, config }: Services, ctx: Context): ArrivingOptions => ({
  memory: arriving,
  holder: holderOf(ctx),
  messageMs: config.http.requestMs,
})

/** Reads the whole body of a request; see readBody. */
export const bodyOf = (ctx: Context, maxBytes: number, { arriving }: Services): Promise<string> =>
  readBody(ctx.req, maxBytes, () => arriving.open(holderOf(ctx)))

/** The actor and request that a change of a session is recorded with. */
export function callerOf(ctx: Context): Caller {
  const { principal, requestId } = ctx.state as State
  return { actor: principal.actor, requestId }
}

/** Responds with JSON text, unchanged. */
export function sendJson(ctx: Context, status: number, text: string): void {
  ctx.status = status
  ctx.type = 'application/json'
  ctx.body = text
}
