export type Scope = 'session:create' | 'session:read' | 'session:append' | 'session:erase' | 'session:act_as'

export const SCOPES: ReadonlySet<Scope> = new Set([
  'session:create',
  'session:read',
  'session:append',
  'session:erase',
  'session:act_as',
])

/** The tenant, actor and rights of a request. */
export interface Principal {
  readonly tenantId: string
  /** The actor of appended events, unless a request with `session:act_as` names another; null: the request names it. */
  readonly actor: string | null
  /** Null without authentication. */
  readonly kind: 'user' | 'agent' | 'service' | null
  readonly scopes: ReadonlySet<Scope>
  /** The session that the token is restricted to; null: every session of the tenant. */
  readonly sessionId: string | null
  /** End of the token in milliseconds since the epoch, leeway included; null: never. */
  readonly expiresAtMs: number | null
  /** Aborted when the key that signed the token is no longer trusted; absent without authentication. */
  readonly withdrawn?: AbortSignal
}

/** Identifies a principal, over all of its tokens; undefined without authentication. */
export const nameOfPrincipal = ({ tenantId, actor }: Principal): string | undefined =>
  actor === null ? undefined : JSON.stringify([tenantId, actor])

/** The principal without authentication: there is one tenant, and each request names its actor. */
export const ANYONE: Principal = Object.freeze({
  tenantId: 'default',
  actor: null,
  kind: null,
  scopes: SCOPES,
  sessionId: null,
  expiresAtMs: null,
})
