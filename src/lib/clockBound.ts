export interface ClockBoundOptions {
  /** Milliseconds on a clock that never jumps. */
  readonly monotonic?: () => number
  /** This machine's clock, in milliseconds since the epoch. */
  readonly wall?: () => number
}

/** The tolerance by which another clock may run ahead of the time that has passed here. */
const TOLERANCE_MS = 10 * 60_000
/** A clock that has been ahead for this long is accepted. */
const GRACE_MS = 60_000

interface Reading {
  readonly theirs: number
  readonly ours: number
}

/**
 * Bounds the clock of another machine. Its latest possible time is its first reading plus the time that has passed on our
 * monotonic clock, or our own clock if that is later, plus a tolerance. A clock that stays ahead is accepted after a minute.
 */
export class ClockBound {
  readonly #monotonic: () => number
  readonly #wall: () => number
  #accepted: Reading | undefined
  #suspected: Reading | undefined

  constructor({ monotonic = () => performance.now(), wall = Date.now }: ClockBoundOptions = {}) {
    this.#monotonic = monotonic
    this.#wall = wall
  }

  /** The latest possible time, in milliseconds since 1970; undefined before the first reading. */
  get latest(): number | undefined {
    if (this.#accepted === undefined) return undefined
    const { theirs, ours } = this.#accepted
    return Math.max(theirs + this.#monotonic() - ours, this.#wall()) + TOLERANCE_MS
  }

  /** Takes a reading of the other clock, and tells whether it is accepted or ahead. */
  read(theirs: number): 'accepted' | 'ahead' {
    const reading = { theirs, ours: this.#monotonic() }
    const { latest } = this
    const isPossible = latest === undefined || theirs <= latest
    if (isPossible || this.#hasHeld(reading)) {
      this.#accepted = reading
      this.#suspected = undefined
      return 'accepted'
    }
    // The minute starts again when the clock has jumped once more.
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
