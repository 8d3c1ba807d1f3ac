/** Things that are ready in any order happen in the order in which their places were taken. */
export class InOrder {
  readonly #places: { act: (() => void) | undefined }[] = []

  /** Takes the next place. What is answered is called once, with what to do when the turn comes. */
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
