/** A part that runs until it is stopped. `stop` settles all callers that wait for the part, and is idempotent. */
export interface Stoppable {
  stop(): Promise<unknown> | unknown
}

/** The parts that were started, in order. Stops the newest first, so that no part outlives one that it depends on. */
export class StopStack implements Stoppable {
  readonly #parts: { name: string; stop: () => Promise<unknown> | unknown }[] = []
  #stopped: Promise<void> | undefined

  add<T extends Stoppable>(name: string, part: T): T {
    this.#parts.push({ name, stop: () => part.stop() })
    return part
  }

  /** Stops every part, also after a failure, and then rejects with all failures. */
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
