/** On whose behalf a request comes. */
export interface Principal {
  readonly tenantId: string
  /** What appended events carry as their actor; null: the request says. */
  readonly actor: string | null
}

/** Without authentication there is one tenant, and actors are what requests say they are. */
export const ANYONE: Principal = Object.freeze({ tenantId: 'default', actor: null })
