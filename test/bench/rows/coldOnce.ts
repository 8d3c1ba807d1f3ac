import { setTimeout as sleep } from 'node:timers/promises'
import { fillSegment } from '../cold/fill.ts'
import { type Lab, query } from '../lab.ts'
import type { Row } from './case.ts'
import { dueMillion } from './cold.ts'

const MOVED = 500_000
const SESSIONS = 500
const DROP_LOAD = { connections: 16, perSecond: 200 }
/** Before and after, so that the drop lies within it. */
const MARGIN_SECONDS = 2

export const MOVE = {
  id: 'move',
  group: 'cold',
  name: 'moving a segment of 500,000 events to a table',
} as const
export const DROP = {
  id: 'drop',
  group: 'cold',
  name: 'longest append while a segment of 1,000,000 is dropped',
} as const

/** Nothing else goes on: from the segment's closing to the moment in which readers find it in objects. */
export async function moveRow(lab: Lab): Promise<Row> {
  const sessions = await lab.sessions('move', SESSIONS)
  const [url, tier] = [await lab.database('starcite'), await lab.tier()]
  const pass = () => tier.call('move', { url })
  await pass() // what other rows have left
  const segment = await fillSegment({ url, sessions, events: MOVED })
  const { events, objects, bytes } = await pass()
  if (events !== MOVED) throw new Error(`of ${MOVED} events ${events} were moved`)
  const [took] = await query(
    url,
    'select extract(epoch from g.moved_at - g.closed_at) as seconds from starcite.segments g where g.name = $1',
    [segment],
  )
  const note = `${objects} objects, ${(bytes / events).toFixed(0)} bytes an event, written to a table of the same Postgres`
  return { ...MOVE, unit: 'per second', value: events / Number(took!.seconds), note }
}

/** The steps that lock a partition, while appends go to another one; copying is over. */
export async function dropRow(lab: Lab): Promise<Row> {
  await dueMillion(lab)
  const [tier, load, node] = [await lab.tier(), await lab.load(), await lab.node('a')]
  const sessions = await lab.sessions('drop', 50)
  await tier.call('copy', { url: await lab.database('starcite') })
  const appending = load.call('paced', {
    ...DROP_LOAD,
    port: node.port,
    sessions,
    seconds: 3 * MARGIN_SECONDS,
    ledger: 'starcite',
  })
  appending.catch(() => {}) // reported below
  await sleep(MARGIN_SECONDS * 1000)
  const from = now()
  const times = await tier.call('takeAway', undefined as never)
  const { dues, latencies } = await appending
  if (dues.at(-1)! < times.dropped!) throw new Error('the appends were over before the segment was dropped')

  const longest = (start: number, end: number) =>
    latencies.reduce(
      (most, ms, i) => (dues[i]! < end && dues[i]! + ms > start ? Math.max(most, ms) : most),
      0,
    )
  const steps = [
    ['counting and truncating', from, times.switched!],
    ['detaching', times.switched!, times.detached!],
    ['dropping', times.detached!, times.dropped!],
  ] as const
  const described = steps.map(
    ([step, start, end]) =>
      `${step} took ${(end - start).toFixed(0)} ms, longest append ${longest(start, end).toFixed(1)} ms`,
  )
  const idle = longest(0, from)
  const note = `${described.join('; ')}; before, nothing else going on, ${idle.toFixed(1)} ms`
  return { ...DROP, unit: 'ms', value: longest(from, times.dropped!), note }
}

const now = () => performance.timeOrigin + performance.now()
