import type { TSchema } from 'typebox'
import type { Principal, Scope } from '../auth/principal.ts'
import type { Config } from '../config.ts'
import type { ErrorCode } from '../protocol/errors.ts'
import type { Services } from './context.ts'
import type { Documents, NodeStatus } from './nodeStatus.ts'
import type { Parameters, ParameterValues } from './parameters.ts'
import type { PathValues } from './pathParameters.ts'
import type { RequestBody } from './requestBody.ts'
import type { UpgradeContext } from './transports/upgrade.ts'

export type Tag = 'sessions' | 'events' | 'erasure' | 'lifecycle' | 'operations' | 'contract'
export type HeaderName = 'Location' | 'ETag' | 'Upgrade'
export type Content = Readonly<Record<string, TSchema>>
/** What of the configuration decides which scope an operation takes. */
export type ScopeSettings = Pick<Config, 'eraseScope'>

/** An answer that is no error. */
export interface Answer {
  readonly description: string
  /** By media type; none: there is no body. */
  readonly content?: Content
  readonly headers?: readonly HeaderName[]
}

/** One request, checked and parsed as its operation declares. */
export interface Call<Path extends string = string, P extends Parameters = Parameters, Body = unknown> {
  readonly ctx: UpgradeContext
  readonly services: Services
  readonly node: NodeStatus & { readonly documents: Documents }
  /** Without authentication, and on operations without a scope, ANYONE. */
  readonly principal: Principal
  readonly path: PathValues<Path>
  readonly parameters: ParameterValues<P>
  readonly body: Body
}

/**
 * One method of one path: what it takes, who may call it, what it answers, and its handler. The router, the checks before the
 * handler (enter.ts), the OpenAPI document and the tests that sweep over all operations are derived from it.
 */
export interface Operation<Path extends string = string, P extends Parameters = Parameters, Body = unknown> {
  readonly method: 'get' | 'post' | 'patch' | 'delete'
  /** A segment such as `:id` is a parameter of pathParameters.ts. A token that is locked to a session may name only that `id`. */
  readonly path: Path
  readonly id: string
  readonly tag: Tag
  readonly summary: string
  readonly description?: string
  /** What the token must allow. Undefined: everybody may call it, without a token, unless `handshake` says otherwise. */
  readonly scope?: Scope | ((settings: ScopeSettings) => Scope)
  /** Only tokens of services that are not locked to a session may call it. */
  readonly servicesOnly?: true
  /** The name of the query parameter that may hold the token, where browsers cannot set headers. */
  readonly tokenParameter?: 'access_token' | 'token'
  readonly parameters?: P
  readonly body?: RequestBody<Body>
  /** It answers with an event stream: always, or when `Accept` asks for one. */
  readonly eventStream?: 'always' | 'accepted'
  /** It takes WebSocket handshakes. */
  readonly webSocket?: WebSocketHandshake
  readonly answers: Readonly<Record<number, Answer>>
  /** Beside those that follow from the members above (contract/errorsOf.ts). */
  readonly errors: readonly ErrorCode[]
  handle(call: Call<Path, P, Body>): void | Promise<void>
}

export interface WebSocketHandshake {
  /** The socket is closed for a larger message. */
  maxMessageBytes(config: Config): number
  /** Set: this finds the token, and undefined for none; a handshake whose token is not good is answered by `refuse`. */
  readonly authentication?: {
    token(ctx: UpgradeContext): string | undefined
    refuse(ctx: UpgradeContext): void
  }
}

/** The operation as an entry of a list: its handler gets what it declares. */
export const operation = <const Path extends string, const P extends Parameters, Body>(
  declared: Operation<Path, P, Body>,
): Operation => declared as unknown as Operation

export const scopeOf = ({ scope }: Operation, settings: ScopeSettings): Scope | undefined =>
  typeof scope === 'function' ? scope(settings) : scope
