export const NOT_READY = ['starting', 'draining', 'database_unavailable', 'listener_down'] as const
export interface NotReady {
  readonly reason: (typeof NOT_READY)[number]
  readonly message?: string
}

export const DEGRADED = ['listener_down', 'notify_queue_full'] as const
export type Degraded = (typeof DEGRADED)[number]

export interface HealthProbes {
  /** Rejects when Postgres does not answer in time. */
  readonly pingDatabase: () => Promise<unknown>
  /** Details about a database that does not answer, when there are any. */
  readonly databaseFault?: () => string | undefined
  readonly listenerDownForMs: () => number
  readonly isNotifyQueueFull?: () => boolean
}

/** The health of a node: whether a load balancer should send it requests. */
export class Health {
  #phase: 'starting' | 'running' | 'draining' = 'starting'
  #probes: HealthProbes | undefined
  #pinging: Promise<unknown> | undefined
  readonly #listenerGraceMs: number

  /** `listenerGraceMs`: long enough to ride out one failover of a managed Postgres (60–120 s) without moving any client. */
  constructor(listenerGraceMs: number) {
    this.#listenerGraceMs = listenerGraceMs
  }

  get phase(): 'starting' | 'running' | 'draining' {
    return this.#phase
  }

  running(probes: HealthProbes): void {
    this.#probes = probes
    this.#phase = 'running'
  }

  draining(): void {
    this.#phase = 'draining'
  }

  /** The reason why the node is not ready; undefined when it is. */
  async notReadyBecause(): Promise<NotReady | undefined> {
    if (this.#phase !== 'running' || this.#probes === undefined)
      return { reason: this.#phase === 'draining' ? 'draining' : 'starting' }
    try {
      await this.#ping(this.#probes)
    } catch {
      const message = this.#probes.databaseFault?.()
      return { reason: 'database_unavailable', ...(message !== undefined && { message }) }
    }
    return this.#probes.listenerDownForMs() > this.#listenerGraceMs ? { reason: 'listener_down' } : undefined
  }

  /** The reasons why tails lag by up to the poll interval on a node that is ready: notifications do not arrive. */
  get degradedBy(): readonly Degraded[] {
    const probes = this.#probes
    if (probes === undefined) return []
    return [
      ...(probes.listenerDownForMs() > 0 ? (['listener_down'] as const) : []),
      ...(probes.isNotifyQueueFull?.() ? (['notify_queue_full'] as const) : []),
    ]
  }

  /** Pings Postgres once for all concurrent checks, so that frequent checks cost it no more. */
  #ping(probes: HealthProbes): Promise<unknown> {
    this.#pinging ??= probes.pingDatabase().finally(() => {
      this.#pinging = undefined
    })
    return this.#pinging
  }
}
