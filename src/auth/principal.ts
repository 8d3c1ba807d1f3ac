export type Scope = 'session:create' | 'session:read' | 'session:append' | 'session:erase' | 'session:act_as'

export const SCOPES: ReadonlySet<Scope> = new Set([
  'session:create',
  'session:read',
  'session:append',
  'session:erase',
  'session:act_as',
])

/** On whose behalf a request comes. */
export interface Principal {
  readonly tenantId: string
  /** What appended events carry as their actor, unless they name another and `session:act_as` allows it; null: the request says. */
  readonly actor: string | null
  /** Null without authentication. */
  readonly kind: 'user' | 'agent' | 'service' | null
  readonly scopes: ReadonlySet<Scope>
  /** The one session that the token is for; null: any of the tenant. */
  readonly sessionId: string | null
  /** Milliseconds since the epoch at which the token ends, leeway included; null: never. */
  readonly expiresAtMs: number | null
  /** Aborted when the key that signed the token is no longer trusted; absent without authentication. */
  readonly withdrawn?: AbortSignal
}

/** Tells principals apart, whatever tokens they come with; undefined without authentication. */
export const nameOfPrincipal = ({ tenantId, actor }: Principal): string | undefined =>
  actor === null ? undefined : JSON.stringify([tenantId, actor])

/** Without authentication there is one tenant, and actors are what requests say they are. */
export const ANYONE: Principal = Object.freeze({
  tenantId: 'default',
  actor: null,
  kind: null,
  scopes: SCOPES,
  sessionId: null,
  expiresAtMs: null,
})
