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
/** The part of the configuration that scopes of operations depend on. */
export type ScopeSettings = Pick<Config, 'eraseScope'>

/** A response that is not an error. */
export interface Answer {
  readonly description: string
  /** The schema of the body by media type. Absent: there is no body. */
  readonly content?: Content
  readonly headers?: readonly HeaderName[]
}

/** A response with a JSON body. */
export const json = (description: string, schema: TSchema, ...headers: readonly HeaderName[]): Answer => ({
  description,
  content: { 'application/json': schema },
  ...(headers.length > 0 && { headers }),
})

/** One request to an operation, after its checks, with its parsed parameters and body. */
export interface Call<Path extends string = string, P extends Parameters = Parameters, Body = unknown> {
  readonly ctx: UpgradeContext
  readonly services: Services
  readonly node: NodeStatus & { readonly documents: Documents }
  /** ANYONE without authentication, and on operations that need no token. */
  readonly principal: Principal
  readonly path: PathValues<Path>
  readonly parameters: ParameterValues<P>
  readonly body: Body
}

/**
 * One method of one path, with its handler. The router, the checks before the handler (enter.ts), the OpenAPI document and the
 * tests that sweep over all operations are derived from this declaration.
 */
export interface Operation<Path extends string = string, P extends Parameters = Parameters, Body = unknown> {
  readonly method: 'get' | 'post' | 'patch' | 'delete'
  /** A segment such as `:id` is a parameter of pathParameters.ts. A token that is locked to a session is valid for that `id` alone. */
  readonly path: Path
  readonly id: string
  readonly tag: Tag
  readonly summary: string
  readonly description?: string
  /** The scope that the token must have. Absent: no token is needed, unless `webSocket` has an authentication of its own. */
  readonly scope?: Scope | ((settings: ScopeSettings) => Scope)
  /** Requires the token of a service that is not locked to a session. */
  readonly servicesOnly?: true
  /** The query parameter that may hold the token, for browsers, which cannot set headers here. */
  readonly tokenParameter?: 'access_token' | 'token'
  readonly parameters?: P
  readonly body?: RequestBody<Body>
  /** Responds with an event stream: always, or when `Accept` asks for one. */
  readonly eventStream?: 'always' | 'accepted'
  /** Accepts WebSocket handshakes. */
  readonly webSocket?: WebSocketHandshake
  readonly answers: Readonly<Record<number, Answer>>
  /** The codes of its errors, beyond those that follow from the members above (contract/errorsOf.ts). */
  readonly errors: readonly ErrorCode[]
  handle(call: Call<Path, P, Body>): void | Promise<void>
}

export interface WebSocketHandshake {
  /** The node closes the socket when a message is larger. */
  maxMessageBytes(config: Config): number
  /** How the token is found, and how a handshake is answered whose token is invalid, when that differs from HTTP. */
  readonly authentication?: {
    token(ctx: UpgradeContext): string | undefined
    refuse(ctx: UpgradeContext): void
  }
}

/** Checks the types of a declaration, so that its handler gets what it declares. */
export const operation = <const Path extends string, const P extends Parameters, Body>(
  declared: Operation<Path, P, Body>,
): Operation => declared as unknown as Operation

export const scopeOf = ({ scope }: Operation, settings: ScopeSettings): Scope | undefined =>
  typeof scope === 'function' ? scope(settings) : scope
