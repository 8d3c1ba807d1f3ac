/** An item that belongs to the session at this index of a group. */
interface Indexed {
  readonly index: number
}

/** Items ordered by the index of their session, of which the next can be inspected before it is taken. */
export class Peekable<T extends Indexed> {
  readonly #items: AsyncGenerator<T, void>
  #next: T | undefined
  #isOver = false

  constructor(items: AsyncGenerator<T, void>) {
    this.#items = items
  }

  /** Takes the next item if it belongs to this index. Skips items of earlier indexes that were not taken. */
  async takeOf(index: number): Promise<T | undefined> {
    for (;;) {
      if (this.#next === undefined && !this.#isOver) {
        const { value, done } = await this.#items.next()
        if (done) this.#isOver = true
        else this.#next = value
      }
      const next = this.#next
      if (next === undefined || next.index > index) return undefined
      this.#next = undefined
      if (next.index === index) return next
    }
  }

  async stop(): Promise<void> {
    await this.#items.return()
  }
}
