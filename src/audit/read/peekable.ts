/** Something that belongs to the session at this place of a group. */
interface Placed {
  readonly place: number
}

/** Items in the order of their places, looked at before they are taken. */
export class Peekable<T extends Placed> {
  readonly #items: AsyncGenerator<T, void>
  #next: T | undefined
  #isOver = false

  constructor(items: AsyncGenerator<T, void>) {
    this.#items = items
  }

  /** The next one, taken, if it belongs to this place. Those of places before, which nobody took, are passed over. */
  async takeOf(place: number): Promise<T | undefined> {
    for (;;) {
      if (this.#next === undefined && !this.#isOver) {
        const { value, done } = await this.#items.next()
        if (done) this.#isOver = true
        else this.#next = value
      }
      const next = this.#next
      if (next === undefined || next.place > place) return undefined
      this.#next = undefined
      if (next.place === place) return next
    }
  }

  async stop(): Promise<void> {
    await this.#items.return()
  }
}
