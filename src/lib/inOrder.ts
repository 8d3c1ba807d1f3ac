/** Runs actions in the order in which their places were taken, regardless of the order in which they become ready. */
export class InOrder {
  readonly #places: { act: (() => void) | undefined }[] = []

  /** Takes the next place. Call the function that it returns once, with the action for that place. */
  place(): (act: () => void) => void {
    const place: { act: (() => void) | undefined } = { act: undefined }
    this.#places.push(place)
    return (act) => {
      place.act = act
      for (let first = this.#places[0]; first?.act; first = this.#places[0]) {
        this.#places.shift()
        first.act()
      }
    }
  }
}
