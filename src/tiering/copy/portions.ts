import type { Run, RunEvent } from './queries.ts'

/** About how much one read of a segment brings into memory. */
const READ_EVENTS = 2000
const READ_BYTES = 1024 * 1024

/** Groups runs into portions that fit in memory. A long run is cut by the size of its average event. */
export function* portions(runs: readonly Run[]): Generator<Run[]> {
  let portion: Run[] = []
  let [events, bytes] = [0, 0]
  for (const run of runs) {
    const averageBytes = Math.max(1, run.bytes / (run.lastSeq - run.firstSeq + 1))
    const most = Math.max(1, Math.min(READ_EVENTS, Math.floor(READ_BYTES / averageBytes)))
    for (let firstSeq = run.firstSeq; firstSeq <= run.lastSeq; firstSeq += most) {
      const lastSeq = Math.min(run.lastSeq, firstSeq + most - 1)
      portion.push({ ...run, firstSeq, lastSeq })
      events += lastSeq - firstSeq + 1
      bytes += (lastSeq - firstSeq + 1) * averageBytes
      if (events < READ_EVENTS && bytes < READ_BYTES) continue
      yield portion
      portion = []
      ;[events, bytes] = [0, 0]
    }
  }
  if (portion.length > 0) yield portion
}

/** The part of a portion that follows the event which was read last. */
export function remainder(portion: readonly Run[], last: RunEvent | undefined): Run[] {
  if (last === undefined)
    throw new Error(`the events of session ${portion[0]?.sid} from ${portion[0]?.firstSeq} are gone`)
  const { run, event } = last
  const others = portion.slice(portion.indexOf(run) + 1)
  const { seq } = event.rendered
  return seq < run.lastSeq ? [{ ...run, firstSeq: seq + 1 }, ...others] : others
}
