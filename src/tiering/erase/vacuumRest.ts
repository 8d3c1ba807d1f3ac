/**
 * Keeps vacuums that erasers ask for to a share of the time, for the tables that they go through belong to all tenants. After
 * one the next has to wait nine times as long as it took; until then erasures that ask for one are not done yet.
 */
export class VacuumRest {
  readonly #now: () => number
  #until = 0

  /** `now`: milliseconds of a clock that only goes forward. */
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
