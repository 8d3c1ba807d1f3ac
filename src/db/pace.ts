import { pause } from '../lib/backoff.ts'
import type { DbSession } from './session.ts'

/** What all nodes have appended to the hot segments. Both values fall when a segment is moved. */
export interface Appended {
  /** As Postgres's backends report it: once a second. */
  readonly events: number
  /** Size of the tables on disk: grows with every event, but says little about how many they are. */
  readonly bytes: number
}

export interface PaceOptions {
  readonly appended: () => Promise<Appended>
  readonly signal: AbortSignal
  /** Milliseconds of a monotonic clock. */
  readonly now?: () => number
  readonly wait?: (ms: number, signal: AbortSignal) => Promise<void>
}

/** While appends continue, the job rests this many times as long as a read took … */
export const REST = 8
/** … unless it would then copy less than this many times what is appended: it keeps up however busy the database is. */
export const AHEAD = 1.5
/** The longest rest, so that the job notices when appends have stopped. */
export const MAX_REST_MS = 1000
/** Growth in a second from which on appends count as busy: some hundred events. */
const BUSY_BYTES = 64 * 1024
const BUSY_MS = 1000
const SAMPLE_MS = 100
/** The time over which the rate is measured; it evens out values that are reported once a second. */
const RATE_MS = 3000

interface Sample extends Appended {
  readonly at: number
}

/**
 * Paces a job: full speed while there are hardly any appends, and short turns that leave the processors to appends
 * otherwise. It measures appends to the database, so it does not matter on which node the job runs, or whether it
 * runs in a process of its own. Reads take longer on a busy machine, so rests do too.
 */
export class Pace {
  readonly #options: PaceOptions
  readonly #now: () => number
  readonly #samples: Sample[] = []

  constructor(options: PaceOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  /** Takes the first sample: appends count from here on. */
  begin(): Promise<void> {
    return this.#sample()
  }

  /**
   * Call it after a read, with its events and duration. Resolves when the next read may begin, or `signal` is
   * aborted.
   */
  async rest(events: number, readMs: number): Promise<void> {
    await this.#sample()
    const sample = this.#samples.at(-1) as Sample
    if (growth('bytes', this.#since(sample.at - BUSY_MS), sample) < BUSY_BYTES) return
    const perSecond = AHEAD * growth('events', this.#since(sample.at - RATE_MS), sample)
    const mostMs = perSecond > 0 ? (events * 1000) / perSecond - readMs : MAX_REST_MS
    const ms = Math.min(REST * readMs, mostMs, MAX_REST_MS)
    const { signal, wait = pause } = this.#options
    if (ms > 0) await wait(ms, signal)
  }

  async #sample(): Promise<void> {
    const last = this.#samples.at(-1)
    if (last !== undefined && this.#now() - last.at < SAMPLE_MS) return
    const at = this.#now()
    this.#samples.push({ ...(await this.#options.appended()), at })
    while (this.#samples[1] !== undefined && this.#samples[1].at <= at - RATE_MS) this.#samples.shift()
  }

  /** The newest sample that is at least as old, or else the oldest. */
  #since(at: number): Sample {
    return (this.#samples.findLast((sample) => sample.at <= at) ?? this.#samples[0]) as Sample
  }
}

/** Growth per second. Growth in less than a second counts as the growth of a whole one. */
function growth(of: keyof Appended, from: Sample, to: Sample): number {
  return ((to[of] - from[of]) * 1000) / Math.max(BUSY_MS, to.at - from.at)
}

/** Reads what all nodes have appended, from the statistics of Postgres. */
export async function appended(session: DbSession): Promise<Appended> {
  const [row] = await session.query(
    `select sum(pg_stat_get_tuples_inserted(t.oid)), sum(pg_table_size(t.oid))
       from (select to_regclass(format('starcite.%I', g.name)) as oid
               from starcite.segments g where g.state = 'hot') t`,
  )
  return { events: Number(row?.[0] ?? 0), bytes: Number(row?.[1] ?? 0) }
}
