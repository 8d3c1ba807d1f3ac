import { amount, progress } from '../terminal.ts'

const SHOW_EVERY_MS = 200

export interface Metered {
  readonly events: number
  readonly bytes: number
}

/** Shows progress in one line of the terminal. */
export class Meter {
  readonly #line = progress(process.stderr)
  readonly #verb: string
  readonly #startedAt = performance.now()
  #shownAt = 0

  constructor(verb: string) {
    this.#verb = verb
  }

  get isShown(): boolean {
    return process.stderr.isTTY === true
  }

  get seconds(): number {
    return (performance.now() - this.#startedAt) / 1000
  }

  /** `part` is the share that is done, from 0 to 1, where it is known. */
  show({ events, bytes }: Metered, part?: number): void {
    const now = performance.now()
    if (!this.isShown || now - this.#shownAt < SHOW_EVERY_MS) return
    this.#shownAt = now
    const rate = Math.round(events / Math.max(this.seconds, 0.001))
    const left =
      part !== undefined && part > 0.001 ? `, ${duration((this.seconds * (1 - part)) / part)} left` : ''
    const done = part === undefined ? '' : `${bar(part)} `
    this.#line.show(`${done}${this.#verb} ${amount(events)} events, ${size(bytes)}, ${amount(rate)}/s${left}`)
  }

  clear(): void {
    this.#line.clear()
  }
}

const BAR_CELLS = 20

function bar(part: number): string {
  const cells = Math.floor(part * BAR_CELLS)
  return `[${'#'.repeat(cells)}${'.'.repeat(BAR_CELLS - cells)}] ${String(Math.floor(part * 100)).padStart(3)} %`
}

export function size(bytes: number): string {
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(0)} kB`
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`
}

function duration(seconds: number): string {
  const whole = Math.ceil(seconds)
  if (whole < 60) return `${whole} s`
  const minutes = Math.floor(whole / 60)
  return minutes < 60 ? `${minutes} min ${whole % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
