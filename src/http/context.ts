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
import { AppError } from '../protocol/errors.ts'
import type { Erasures } from '../sessions/erasure/erasures.ts'
import type { Caller } from '../sessions/queries.ts'
import type { Session } from '../sessions/session.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { Cursors } from '../tail/cursors.ts'
import type { History } from '../tail/history.ts'
import type { TailQuota } from '../tail/quota.ts'
import type { Tails } from '../tail/tail.ts'
import { readBody } from './body.ts'
import type { RequestQuota } from './requestQuota.ts'
import type { ArrivingOptions } from './transports/arriving.ts'
import type { Patience, Sockets } from './transports/sockets.ts'

/** What routes call. */
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
  /** For what is half read: bodies, and frames of sockets. */
  readonly arriving: MemoryBudget
  /** For answers that wait to be written. */
  readonly answers: MemoryBudget
  /** For what tails have written and their readers have not taken. */
  readonly unread: UnreadBudget
  readonly tailQuota: TailQuota
  /** For sessions that are looked up because somebody joins: so many at a time, fair among principals. */
  readonly joins: FairTurns
  /** Undefined: tenants may ask as often as they like. */
  readonly requestQuota: RequestQuota | undefined
}

/** What middleware leaves for routes in `ctx.state`. */
export interface State {
  requestId: string
  principal: Principal
  /** Memory that is held for the answer, before there is one. */
  answer?: Account
  /** It went away before it could be answered. */
  clientGone?: true
}

/** Who holds memory of the node: a principal, or without authentication an address. */
export const holderOf = (ctx: Context): string | undefined => {
  const { principal } = ctx.state as Partial<State>
  return (principal && nameOfPrincipal(principal)) ?? ctx.req.socket.remoteAddress
}

export const patienceOf = ({ config, unread }: Services, ctx: Context): Patience => ({
  stallMs: config.tail.stallMs,
  unread,
  holder: holderOf(ctx),
})

export const arrivingOf = ({ arriving, config }: Services, ctx: Context): ArrivingOptions => ({
  memory: arriving,
  holder: holderOf(ctx),
  messageMs: config.http.requestMs,
})

/** The whole body; see readBody. */
export const bodyOf = (ctx: Context, maxBytes: number, { arriving }: Services): Promise<string> =>
  readBody(ctx.req, maxBytes, () => arriving.open(holderOf(ctx)))

const MAX_ID_BYTES = 256
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/

/** Why a text cannot be a session id, or undefined when it can. */
export function badSessionId(id: string): string | undefined {
  const bytes = Buffer.byteLength(id)
  if (bytes < 1 || bytes > MAX_ID_BYTES) return `must be 1 to ${MAX_ID_BYTES} bytes`
  if (CONTROL.test(id)) return 'must not contain control characters'
  return id.isWellFormed() ? undefined : 'must be valid Unicode'
}

/** The same of an id that is to be made: that of an older session may be a dot or two, which no address can say. */
export const badNewSessionId = (id: string): string | undefined =>
  badSessionId(id) ??
  (id === '.' || id === '..' ? `must not be ${id}: in an address it names another place` : undefined)

/** The session id in the path. One that no session can have is not found, before Postgres hears of it. */
export function sessionId(ctx: Context & { params?: Record<string, string | undefined> }): string {
  const id = ctx.params?.id ?? ''
  if (badSessionId(id) !== undefined)
    throw new AppError(
      'session_not_found',
      `there is no session ${JSON.stringify(id.slice(0, MAX_ID_BYTES))}`,
    )
  return id
}

/** On whose behalf a request changes a session. */
export function callerOf(ctx: Context): Caller {
  const { principal, requestId } = ctx.state as State
  return { actor: principal.actor, requestId }
}

export const findSession = (services: Services, ctx: Context): Promise<Session> =>
  services.sessions.get((ctx.state as State).principal.tenantId, sessionId(ctx))

/** Answers JSON text as it stands. */
export function answerJson(ctx: Context, status: number, text: string): void {
  ctx.status = status
  ctx.type = 'application/json'
  ctx.body = text
}
