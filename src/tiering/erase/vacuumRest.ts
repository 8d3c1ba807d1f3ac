/**
 * Limits the vacuums of erasures to a share of the time, because they run over tables that belong to all tenants.
 * After a vacuum the next one waits nine times as long as it took. Erasures that need a vacuum are not done before
 * that.
 */
export class VacuumRest {
  readonly #now: () => number
  #until = 0

  /** `now`: milliseconds of a monotonic clock. */
  constructor(now = () => performance.now()) {
    this.#now = now
  }

  get isOver(): boolean {
    return this.#now() >= this.#until
  }

  async after(vacuum: () => Promise<void>): Promise<void> {
    const started = this.#now()
    try {
      await vacuum()
    } finally {
      const ended = this.#now()
      this.#until = ended + REST * (ended - started)
    }
  }
}

const REST = 9
