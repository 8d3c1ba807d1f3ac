/** Something that runs until it is told to stop. `stop` settles everyone who waits on it, and may be called twice. */
export interface Stoppable {
  stop(): Promise<unknown> | unknown
}

/** What started, in order; stops newest first, so nothing outlives what it stands on. */
export class StopStack implements Stoppable {
  readonly #parts: { name: string; stop: () => Promise<unknown> | unknown }[] = []
  #stopped: Promise<void> | undefined

  add<T extends Stoppable>(name: string, part: T): T {
    this.#parts.push({ name, stop: () => part.stop() })
    return part
  }

  /** Stops everything, even past a failure, and then rejects with what failed. */
  stop(): Promise<void> {
    this.#stopped ??= this.#run()
    return this.#stopped
  }

  async #run(): Promise<void> {
    const failures: unknown[] = []
    for (let part = this.#parts.pop(); part; part = this.#parts.pop()) {
      try {
        await part.stop()
      } catch (cause) {
        failures.push(new Error(`stopping ${part.name} failed`, { cause }))
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, 'not everything stopped cleanly')
  }
}
