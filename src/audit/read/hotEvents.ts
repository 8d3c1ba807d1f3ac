import type { Db } from '../../db/pool.ts'
import { type HotEvent, type HotRun, readHot } from './queries.ts'
import type { SessionHead } from './scope.ts'

/** About how much one statement reads. */
const READ_EVENTS = 2000
const READ_BYTES = 1024 * 1024

/** Consecutive events of one session. */
export interface HotRange {
  readonly index: number
  readonly firstSeq: number
  readonly lastSeq: number
  readonly text: Buffer
}

/** The events in Postgres of the ranges that these sessions are read for, in their order. A range ends at a gap. */
export async function* hotEvents(db: Db, sessions: readonly SessionHead[]): AsyncGenerator<HotRange, void> {
  for (const portion of portions(runsOf(sessions)))
    for (let rest = portion; rest.length > 0; ) {
      const events = await readHot(db, rest, READ_BYTES)
      yield* rangesOf(events)
      rest = remainder(rest, events.at(-1))
    }
}

/** The events from `firstSeq` on, up to the next gap; undefined when that event is not in Postgres. */
export async function hotRunAt(
  db: Db,
  head: SessionHead,
  firstSeq: number,
  lastSeq: number,
): Promise<HotRange | undefined> {
  const run = { index: 0, head, firstSeq, lastSeq: Math.min(lastSeq, firstSeq + READ_EVENTS - 1) }
  const [first] = rangesOf(await readHot(db, [run], READ_BYTES))
  return first?.firstSeq === firstSeq ? first : undefined
}

function* runsOf(sessions: readonly SessionHead[]): Generator<HotRun> {
  for (const [index, head] of sessions.entries()) {
    const firstSeq = Math.max(head.fromSeq, head.coldUntil + 1)
    if (firstSeq <= head.toSeq) yield { index, head, firstSeq, lastSeq: head.toSeq }
  }
}

/** Groups runs into portions of at most READ_EVENTS events; a long run is cut. */
function* portions(runs: Iterable<HotRun>): Generator<HotRun[]> {
  let portion: HotRun[] = []
  let events = 0
  for (const run of runs)
    for (let { firstSeq } = run; firstSeq <= run.lastSeq; ) {
      const lastSeq = Math.min(run.lastSeq, firstSeq + READ_EVENTS - events - 1)
      portion.push({ ...run, firstSeq, lastSeq })
      events += lastSeq - firstSeq + 1
      firstSeq = lastSeq + 1
      if (events < READ_EVENTS) continue
      yield portion
      portion = []
      events = 0
    }
  if (portion.length > 0) yield portion
}

/** The runs that follow the event which was read last; none when nothing was read. */
function remainder(portion: readonly HotRun[], last: HotEvent | undefined): HotRun[] {
  if (last === undefined) return []
  const { run, seq } = last
  const others = portion.slice(portion.indexOf(run) + 1)
  return seq < run.lastSeq ? [{ ...run, firstSeq: seq + 1 }, ...others] : others
}

function* rangesOf(events: readonly HotEvent[]): Generator<HotRange> {
  let run: HotEvent[] = []
  for (const event of events) {
    const last = run.at(-1)
    if (last && (last.run.index !== event.run.index || last.seq + 1 !== event.seq)) {
      yield rangeOf(run)
      run = []
    }
    run.push(event)
  }
  if (run.length > 0) yield rangeOf(run)
}

function rangeOf(events: readonly HotEvent[]): HotRange {
  const [first, last] = [events[0] as HotEvent, events.at(-1) as HotEvent]
  return {
    index: first.run.index,
    firstSeq: first.seq,
    lastSeq: last.seq,
    text: Buffer.from(events.map((it) => it.line).join('')),
  }
}
