export type NotReady = 'starting' | 'draining' | 'database_unavailable' | 'listener_down'

export interface HealthProbes {
  /** Rejects when Postgres does not answer in time. */
  readonly pingDatabase: () => Promise<unknown>
  readonly listenerDownForMs: () => number
}

/** Long enough to ride out one failover of a managed Postgres (60–120 s) without moving any client. */
const LISTENER_GRACE_MS = 120_000

/** Whether a load balancer should send requests here. */
export class Health {
  #phase: 'starting' | 'running' | 'draining' = 'starting'
  #probes: HealthProbes | undefined

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

  /** Undefined: ready. */
  async notReadyBecause(): Promise<NotReady | undefined> {
    if (this.#phase !== 'running' || this.#probes === undefined)
      return this.#phase === 'draining' ? 'draining' : 'starting'
    try {
      await this.#probes.pingDatabase()
    } catch {
      return 'database_unavailable'
    }
    return this.#probes.listenerDownForMs() > LISTENER_GRACE_MS ? 'listener_down' : undefined
  }
}
