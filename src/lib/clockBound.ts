export interface ClockBoundOptions {
  /** Milliseconds on a clock that never jumps. */
  readonly monotonic?: () => number
  /** This machine's clock, in milliseconds since the epoch. */
  readonly wall?: () => number
}

/** How far another clock may run ahead of the time that has passed here. */
const TOLERANCE_MS = 10 * 60_000
/** A clock that has run ahead for so long is believed. */
const GRACE_MS = 60_000

interface Reading {
  readonly theirs: number
  readonly ours: number
}

/**
 * The latest time that another machine's clock can have: its first reading, and the time that has passed on our monotonic
 * clock since, or our own clock, whichever is later; and a tolerance. A clock that stays ahead is believed after a minute.
 */
export class ClockBound {
  readonly #monotonic: () => number
  readonly #wall: () => number
  #believed: Reading | undefined
  #suspected: Reading | undefined

  constructor({ monotonic = () => performance.now(), wall = Date.now }: ClockBoundOptions = {}) {
    this.#monotonic = monotonic
    this.#wall = wall
  }

  /** Milliseconds since the epoch; undefined before the first reading. */
  get latest(): number | undefined {
    if (this.#believed === undefined) return undefined
    const { theirs, ours } = this.#believed
    return Math.max(theirs + this.#monotonic() - ours, this.#wall()) + TOLERANCE_MS
  }

  /** Takes a reading of the other clock. `ahead`: it is not believed. */
  read(theirs: number): 'believed' | 'ahead' {
    const reading = { theirs, ours: this.#monotonic() }
    const { latest } = this
    const isPossible = latest === undefined || theirs <= latest
    if (isPossible || this.#hasHeld(reading)) {
      this.#believed = reading
      this.#suspected = undefined
      return 'believed'
    }
    // A suspicion begins anew where the clock has jumped once more.
    if (this.#suspected === undefined || !isInStep(this.#suspected, reading)) this.#suspected = reading
    return 'ahead'
  }

  #hasHeld(reading: Reading): boolean {
    const first = this.#suspected
    return first !== undefined && isInStep(first, reading) && reading.ours - first.ours >= GRACE_MS
  }
}

const isInStep = (from: Reading, to: Reading): boolean =>
  Math.abs(to.theirs - from.theirs - (to.ours - from.ours)) <= TOLERANCE_MS
